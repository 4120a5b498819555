//! Which URLs get a series when `-remoteWrite.shardByURL` spreads them.
//!
//! Rendezvous hashing: each series goes to the URL with the greatest mix of its hash and the URL's, so that a URL at the
//! end of the list takes its share from all others and leaves the rest in place. The choice is that of upstream, so that
//! a mixed fleet agrees (docs/reference/vmagent-remote-write.md).

use super::Series;
use xxhash_rust::xxh64::xxh64;

/// Labels that enter the choice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ShardLabels {
    /// All of them.
    #[default]
    All,
    /// `-remoteWrite.shardByURL.labels`.
    Only(Vec<String>),
    /// `-remoteWrite.shardByURL.ignoreLabels`.
    Except(Vec<String>),
}

/// The choice among some URLs.
#[derive(Debug)]
pub struct Shards {
    nodes: Vec<u64>,
    copies: usize,
    labels: ShardLabels,
    scratch: Vec<u8>,
}

impl Shards {
    /// `None` when every URL gets everything: there is one, or as many copies as URLs. URLs are the flag's texts.
    pub fn new<S: AsRef<str>>(urls: &[S], copies: usize, labels: ShardLabels) -> Option<Self> {
        let copies = copies.max(1);
        if copies >= urls.len() {
            return None;
        }
        let node = |(index, url): (usize, &S)| xxh64(format!("{}:{}", index + 1, url.as_ref()).as_bytes(), 0);
        let nodes = urls.iter().enumerate().map(node).collect();
        Some(Self { nodes, copies, labels, scratch: Vec::new() })
    }

    /// Indexes of the URLs that get the series.
    pub fn urls_of(&mut self, series: &Series<'_>) -> impl Iterator<Item = usize> + use<> {
        self.scratch.clear();
        for (name, value) in series.labels() {
            let listed = |names: &[String]| names.iter().any(|listed| listed.as_bytes() == name);
            let enters = match &self.labels {
                ShardLabels::All => true,
                ShardLabels::Only(names) => listed(names),
                ShardLabels::Except(names) => !listed(names),
            };
            if enters {
                self.scratch.extend_from_slice(name);
                self.scratch.extend_from_slice(value);
            }
        }
        let hash = xxh64(&self.scratch, 0);
        let mut first = (0, 0);
        for (index, node) in self.nodes.iter().enumerate() {
            let weight = mix(node ^ hash);
            // The lower index wins a tie.
            if index == 0 || weight > first.1 {
                first = (index, weight);
            }
        }
        let count = self.nodes.len();
        (first.0..first.0 + self.copies).map(move |index| index % count)
    }
}

/// The finaliser of xorshift64*.
fn mix(mut x: u64) -> u64 {
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    x.wrapping_mul(2_685_821_657_736_338_717)
}

#[cfg(test)]
mod tests;
