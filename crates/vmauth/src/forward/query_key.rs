//! What a query is about, as a number: for `hash_query` (`docs/reference/balancing.md`).
//!
//! Dashboards ask the same again and again for times that move on, and the caches of vmselect and its kind hold what they
//! have answered before. So the key is made of path, tenant and args, without those that only say which time is meant or
//! how to look at the answer. The order of args does not matter, nor whether they stand in the URL or in a form.

use jwt::VmAccess;
use vmkit::exchange::RequestHead;
use vmkit::percent;
use xxhash_rust::xxh64::xxh64;

use crate::rewrite::target_url::NormalPath;

/// Args that do not say what is asked for: times of the APIs of Prometheus, Graphite and VictoriaLogs, then what vmui adds.
/// `step` is not one of them, because a cached result belongs to one step.
const LEFT_OUT: [&[u8]; 8] = [b"start", b"end", b"time", b"from", b"until", b"nocache", b"trace", b"timeout"];

/// The key of a request. `form` is its body if that is a form that was read whole; `access` what its token says.
pub fn of(head: &RequestHead, path: &NormalPath<'_>, form: Option<&[u8]>, access: Option<&VmAccess>) -> u64 {
    let mut key = xxh64(path.decoded(), 0);
    let args = [head.query(), form].into_iter().flatten().flat_map(|args| args.split(|byte| *byte == b'&'));
    for arg in args.filter(|arg| !arg.is_empty()) {
        let (name, value) = percent::split_arg(arg);
        let name = percent::decode_arg_leniently(name);
        if !LEFT_OUT.contains(&&*name) {
            // A sum does not depend on the order.
            key = key.wrapping_add(xxh64(&percent::decode_arg_leniently(value), xxh64(&name, 1)));
        }
    }
    if let Some(access) = access {
        let tenant =
            [access.metrics_account_id, access.metrics_project_id, access.logs_account_id, access.logs_project_id];
        tenant.iter().for_each(|id| key = xxh64(&id.to_le_bytes(), key));
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(target: &str, form: Option<&str>, account: Option<u32>) -> u64 {
        let mut head = RequestHead::default();
        head.parse(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).unwrap();
        let access = account.map(|id| VmAccess { metrics_account_id: id, ..VmAccess::default() });
        of(&head, &NormalPath::of(head.path()), form.map(str::as_bytes), access.as_ref())
    }

    #[test]
    fn what_makes_no_difference() {
        let f = |a: &str, b: &str| assert_eq!(key(a, None, None), key(b, None, None), "{a} {b}");
        f("/q?query=up&start=1&end=2&step=15", "/q?query=up&start=5&end=6&step=15");
        f("/q?query=up&step=15", "/q?step=15&query=up&time=3&nocache=1&trace=1");
        f("/q?query=a%20b", "/q?query=a+b");
        f("/render?target=a.b&from=-1h&until=now", "/render?target=a.b&from=-2h");
        f("/q", "/q?&&");
        assert_eq!(key("/q?query=up", None, None), key("/q", Some("query=up&start=1"), None));
    }

    #[test]
    fn what_makes_one() {
        let f = |a: &str, b: &str| assert_ne!(key(a, None, None), key(b, None, None), "{a} {b}");
        f("/q?query=up", "/q?query=down");
        f("/q?query=up", "/r?query=up");
        f("/q?query=up&step=15", "/q?query=up&step=30");
        f("/q?query=up", "/q?query=up&query=up");
        f("/q?a=b&c=d", "/q?a=d&c=b");
        assert_ne!(key("/q?query=up", None, Some(1)), key("/q?query=up", None, Some(2)));
    }
}
