//! Which member of a scrape cluster scrapes a target (`-promscrape.cluster.*`).
//!
//! The choice is that of upstream to the bit, so that members of both kinds share one set of targets: XXH64 of the
//! labels after relabeling, in their order, written `name=value,`.

use xxhash_rust::xxh64::Xxh64;

use crate::labels::LabelBuf;

/// This member and its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// `-promscrape.cluster.membersCount`, at least one.
    pub members: u64,
    /// Number of this member, below `members`.
    pub member: u64,
    /// How many members scrape each target, at least one.
    pub replicas: u64,
    /// Labels that choose the member, sorted; all when empty.
    pub shard_by: Vec<String>,
    /// `-promscrape.cluster.name`; shifts the phase of scrapes.
    pub name: String,
    /// Name and value of the label that tells the member.
    pub member_label: Option<(String, String)>,
    /// `-promscrape.cluster.memberURLTemplate`; each `%d` is a member.
    pub member_url_template: String,
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            members: 1,
            member: 0,
            replicas: 1,
            shard_by: Vec::new(),
            name: String::new(),
            member_label: None,
            member_url_template: String::new(),
        }
    }
}

/// Number of this member out of `-promscrape.cluster.memberNum`: a number, or a name that ends in `-` and a number.
///
/// # Errors
/// There is no number, or it is not below `members`.
pub fn member_number(text: &str, members: u64) -> Result<u64, String> {
    let digits = text.rsplit('-').next().unwrap_or(text);
    let number: u64 = digits.strip_prefix('+').unwrap_or(digits).parse().map_err(|_| {
        format!("cannot parse -promscrape.cluster.memberNum={text:?}; write a number, or a name with -N at its end")
    })?;
    if number >= members {
        let last = members.saturating_sub(1);
        return Err(format!(
            "-promscrape.cluster.memberNum={text:?} is out of range; it must be in the range [0..{last}]"
        ));
    }
    Ok(number)
}

impl Cluster {
    /// The members that scrape a target with these labels, which are those after relabeling without `__meta_*`.
    pub fn owners(&self, labels: &LabelBuf) -> impl Iterator<Item = u64> + use<> {
        let (members, replicas) = (self.members.max(1), self.replicas.clamp(1, self.members.max(1)));
        let first = if members > 1 { self.hash(labels) % members } else { 0 };
        (0..replicas).map(move |offset| (first + offset) % members)
    }

    /// Whether this member scrapes a target.
    pub fn is_mine(&self, labels: &LabelBuf) -> bool {
        self.members <= 1 || self.owners(labels).any(|member| member == self.member)
    }

    fn hash(&self, labels: &LabelBuf) -> u64 {
        let mut hash = Xxh64::new(0);
        let mut any = false;
        let mut add = |name: &[u8], value: &[u8]| {
            for part in [name, b"=", value, b","] {
                hash.update(part);
            }
        };
        for name in &self.shard_by {
            if let Some(value) = labels.get(name.as_bytes()) {
                add(name.as_bytes(), value);
                any = true;
            }
        }
        if !any {
            labels.iter().for_each(|(name, value)| add(name, value));
        }
        hash.digest()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Vectors {
        vectors: Vec<Vector>,
    }

    #[derive(serde::Deserialize)]
    struct Vector {
        flags: Vec<String>,
        member: Option<u64>,
    }

    #[test]
    fn member_numbers_are_those_of_upstream() {
        let text = include_str!("../../../../tests/agent-fixtures/member-num.json");
        let vectors: Vectors = serde_json::from_str(text).unwrap();
        for vector in vectors.vectors {
            let flag = |name: &str| vector.flags.iter().find_map(|flag| flag.strip_prefix(name));
            let Some(text) = flag("-promscrape.cluster.memberNum=") else { continue };
            let members: i64 = flag("-promscrape.cluster.membersCount=").map_or(1, |count| count.parse().unwrap());
            let Ok(members) = u64::try_from(members) else { continue };
            assert_eq!(member_number(text, members).ok(), vector.member, "{:?}", vector.flags);
        }
    }

    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Run {
        members_count: u64,
        replication_factor: i64,
        shard_by_labels: Vec<String>,
        members: std::collections::HashMap<String, Vec<u64>>,
    }

    #[derive(serde::Deserialize)]
    struct Target {
        scrape_url: String,
        labels_for_key: Vec<(String, String)>,
    }

    #[derive(serde::Deserialize)]
    struct ClusterVectors {
        targets: Vec<Target>,
        runs: Vec<Run>,
    }

    #[test]
    fn members_are_those_of_upstream() {
        let text = include_str!("../../../../tests/agent-fixtures/cluster.json");
        let vectors: ClusterVectors = serde_json::from_str(text).unwrap();
        let mut compared = 0;
        for run in &vectors.runs {
            let mut shard_by = run.shard_by_labels.clone();
            shard_by.sort();
            let replicas = u64::try_from(run.replication_factor).unwrap_or(1);
            let cluster = Cluster { members: run.members_count, replicas, shard_by, ..Cluster::default() };
            for target in &vectors.targets {
                let Some(want) = run.members.get(&target.scrape_url) else { continue };
                let mut labels = LabelBuf::new();
                for (name, value) in &target.labels_for_key {
                    labels.push(name.as_bytes(), value.as_bytes());
                }
                let mut got: Vec<u64> = cluster.owners(&labels).collect();
                got.sort_unstable();
                assert_eq!(&got, want, "{} {run:?}", target.scrape_url, run = run.members_count);
                compared += 1;
            }
        }
        assert!(compared > 200, "{compared}");
    }
}
