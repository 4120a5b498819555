//! `resolv.conf` (resolv.conf(5)), read as Go and libc read it: what cannot be understood is passed over.

use crate::net::zone;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

/// libc's limit.
const MAX_SERVERS: usize = 3;
/// libc's limit since 2.26; more would only be time lost.
const MAX_SEARCH: usize = 32;

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ResolvConf {
    /// In the order in which they are asked; never empty when read from a file.
    pub(super) servers: Vec<SocketAddr>,
    /// Domains that are tried behind short names.
    pub(super) search: Vec<String>,
    /// A name with so many dots is tried as it is first.
    pub(super) ndots: usize,
    /// Time for one server; at least a second.
    pub(super) timeout: Duration,
    /// Rounds over all servers; at least one.
    pub(super) attempts: u32,
    /// Each lookup begins with another server.
    pub(super) rotate: bool,
    /// A and AAAA one after the other.
    pub(super) single_request: bool,
    /// TCP only.
    pub(super) use_tcp: bool,
}

impl Default for ResolvConf {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            search: Vec::new(),
            ndots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
            rotate: false,
            single_request: false,
            use_tcp: false,
        }
    }
}

impl ResolvConf {
    /// Reads the text; `None` is a missing file. `hostname` gives a search domain when the file names none.
    pub(super) fn parse(text: Option<&[u8]>, hostname: &str, port: u16) -> Self {
        let mut conf = Self::default();
        let mut has_search = false;
        for line in text.unwrap_or_default().split(|byte| *byte == b'\n') {
            if matches!(line.first(), Some(b';' | b'#')) {
                continue;
            }
            // Only ASCII means something here.
            let line = String::from_utf8_lossy(line);
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") if conf.servers.len() < MAX_SERVERS => {
                    conf.servers.extend(words.next().and_then(|word| server(word, port)));
                }
                Some("domain") => {
                    if let Some(domain) = words.next() {
                        (conf.search, has_search) = (search([domain]), true);
                    }
                }
                Some("search") => (conf.search, has_search) = (search(words), true),
                Some("options") => words.for_each(|word| conf.option(word)),
                _ => {}
            }
        }
        if conf.servers.is_empty() {
            conf.servers.push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port));
        }
        if !has_search && let Some((_, domain)) = hostname.split_once('.') {
            conf.search = search([domain]);
        }
        conf
    }

    fn option(&mut self, word: &str) {
        let number = |text: &str| {
            let digits = text.split(|letter: char| !letter.is_ascii_digit()).next().unwrap_or_default();
            digits.parse::<u16>().unwrap_or_default()
        };
        match word.split_once(':') {
            Some(("ndots", value)) => self.ndots = usize::from(number(value).min(15)),
            Some(("timeout", value)) => self.timeout = Duration::from_secs(number(value).clamp(1, 30).into()),
            Some(("attempts", value)) => self.attempts = u32::from(number(value).clamp(1, 5)),
            _ => match word {
                "rotate" => self.rotate = true,
                "single-request" | "single-request-reopen" => self.single_request = true,
                "use-vc" | "usevc" | "tcp" => self.use_tcp = true,
                _ => {}
            },
        }
    }

    /// The names to ask for `name`, without the final dot, in their order.
    pub(super) fn candidates(&self, name: &str) -> Vec<String> {
        if let Some(rooted) = name.strip_suffix('.') {
            return vec![rooted.to_owned()];
        }
        let mut names: Vec<String> = self.search.iter().map(|domain| format!("{name}.{domain}")).collect();
        let has_dots = name.bytes().filter(|byte| *byte == b'.').count() >= self.ndots;
        names.insert(if has_dots { 0 } else { names.len() }, name.to_owned());
        names
    }
}

fn server(word: &str, port: u16) -> Option<SocketAddr> {
    match zone::parse_ip(word)? {
        (IpAddr::V6(ip), scope) => Some(SocketAddrV6::new(ip, port, 0, scope).into()),
        (ip, _) => Some(SocketAddr::new(ip, port)),
    }
}

fn search<'a>(words: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let domains = words.into_iter().map(|word| word.trim_end_matches('.'));
    domains.filter(|domain| !domain.is_empty()).take(MAX_SEARCH).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> ResolvConf {
        ResolvConf::parse(Some(text.as_bytes()), "vm1.corp.example", 53)
    }

    #[test]
    fn servers() {
        let f = |text: &str, want: &[&str]| {
            let want: Vec<SocketAddr> = want.iter().map(|addr| addr.parse().unwrap()).collect();
            assert_eq!(parse(text).servers, want, "{text:?}");
        };
        f("nameserver 10.0.0.1\nnameserver 10.0.0.2\n", &["10.0.0.1:53", "10.0.0.2:53"]);
        f("# nameserver 10.0.0.9\n;x\nnameserver\t10.0.0.1 \r\n", &["10.0.0.1:53"]);
        f("nameserver host\nnameserver ::1\nnameserver", &["[::1]:53"]);
        f(
            "nameserver 1.1.1.1\nnameserver 1.1.1.2\nnameserver 1.1.1.3\nnameserver 1.1.1.4",
            &["1.1.1.1:53", "1.1.1.2:53", "1.1.1.3:53"],
        );
        f(" nameserver 10.0.0.1", &["10.0.0.1:53"]);
        f("", &["127.0.0.1:53"]);
        assert_eq!(ResolvConf::parse(None, "", 5353).servers, ["127.0.0.1:5353".parse().unwrap()]);
        assert_eq!(ResolvConf::parse(Some(b"search \xff\xfe lan\nnameserver 9.9.9.9"), "", 53).servers.len(), 1);
    }

    #[test]
    fn search_lists() {
        let f = |text: &str, want: &[&str]| assert_eq!(parse(text).search, want, "{text:?}");
        f("search a.example b.example.\n", &["a.example", "b.example"]);
        f("search a\nsearch b c", &["b", "c"]);
        f("domain a\nsearch b", &["b"]);
        f("search b\ndomain a", &["a"]);
        f("search .", &[]);
        f("search", &[]);
        // The host's own domain counts only where the file is silent.
        f("nameserver 10.0.0.1", &["corp.example"]);
        assert!(ResolvConf::parse(None, "vm1", 53).search.is_empty());
    }

    #[test]
    fn options() {
        let f = |text: &str, ndots: usize, timeout: u64, attempts: u32| {
            let conf = parse(text);
            assert_eq!((conf.ndots, conf.timeout.as_secs(), conf.attempts), (ndots, timeout, attempts), "{text:?}");
        };
        f("", 1, 5, 2);
        f("options ndots:5 timeout:2 attempts:3", 5, 2, 3);
        f("options ndots:99 timeout:0 attempts:0", 15, 1, 1);
        f("options ndots:x timeout: attempts:-1 unknown edns0", 0, 1, 1);
        f("options timeout:99999999 attempts:99999999", 1, 1, 1);
        let conf = parse("options rotate single-request use-vc");
        assert!(conf.rotate && conf.single_request && conf.use_tcp);
    }

    #[test]
    fn candidates_of_a_name() {
        let f = |options: &str, name: &str, want: &[&str]| {
            assert_eq!(parse(&format!("search a.lan b.lan\n{options}")).candidates(name), want, "{options} {name}");
        };
        f("", "web", &["web.a.lan", "web.b.lan", "web"]);
        f("", "web.", &["web"]);
        f("", "web.svc", &["web.svc", "web.svc.a.lan", "web.svc.b.lan"]);
        f("options ndots:5", "web.svc", &["web.svc.a.lan", "web.svc.b.lan", "web.svc"]);
        f("options ndots:0", "web", &["web", "web.a.lan", "web.b.lan"]);
    }
}
