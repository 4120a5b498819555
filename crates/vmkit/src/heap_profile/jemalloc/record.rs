//! jemalloc's record of sampled allocations, `heap_v2`, as text.
//!
//! A line `heap_v2/RATE`, then for each stack a line `@ ADDRESS…` with the innermost frame first, followed by lines of counts, of
//! which `t*:` is the sum over all threads: `OBJECTS: BYTES [OBJECTS: BYTES]`, in use and ever. Ends with the mapped files.
//! Counts are of samples; an allocation of S bytes is sampled with the probability 1 - e^(-S/RATE).

/// What is in use, by stack.
#[derive(Debug, PartialEq)]
pub(super) struct Record {
    /// Bytes between two samples, on average.
    pub(super) rate: u64,
    pub(super) stacks: Vec<Stack>,
}

/// One place that allocates.
#[derive(Debug, PartialEq)]
pub(super) struct Stack {
    /// Return addresses, innermost first.
    pub(super) addresses: Vec<u64>,
    /// Estimate of all objects, sampled or not.
    pub(super) objects: i64,
    /// Estimate of their bytes.
    pub(super) bytes: i64,
}

impl Record {
    /// `None` if it is no such record.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (first, rest) = text.split_once('\n')?;
        let rate = first.strip_prefix("heap_v2/")?.parse().ok().filter(|rate| *rate > 0)?;
        let rest = rest.split("\nMAPPED_LIBRARIES:").next().unwrap_or_default();
        let mut stacks = Vec::new();
        // What stands before the first stack are sums of the whole process.
        for part in rest.split("\n@").skip(1) {
            stacks.push(Stack::parse(part, rate)?);
        }
        Some(Self { rate, stacks })
    }
}

impl Stack {
    fn parse(text: &str, rate: u64) -> Option<Self> {
        let (addresses, counts) = text.split_once('\n')?;
        let address = |word: &str| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok();
        let addresses = addresses.split_whitespace().map(address).collect::<Option<_>>()?;
        let sum = counts.lines().find_map(|line| line.trim_start().strip_prefix("t*: "))?;
        let (objects, rest) = sum.split_once(": ")?;
        let (bytes, _) = rest.split_once(" [")?;
        let (objects, bytes) = estimate(objects.parse().ok()?, bytes.parse().ok()?, rate);
        Some(Self { addresses, objects, bytes })
    }
}

/// Objects and bytes from those that were sampled.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "an estimate; no process holds 2^53 bytes"
)]
fn estimate(objects: u64, bytes: u64, rate: u64) -> (i64, i64) {
    if objects == 0 || bytes == 0 {
        return (0, 0);
    }
    let size = bytes as f64 / objects as f64;
    let probability = -(-size / rate as f64).exp_m1();
    ((objects as f64 / probability).round() as i64, (bytes as f64 / probability).round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "heap_v2/524288\n  t*: 3: 1573888 [0: 0]\n  t0: 1: 1024 [0: 0]\n  t1: 2: 1572864 [0: 0]\n\
        @ 0x55d0a1 0x55d0b2\n  t*: 1: 1024 [0: 0]\n  t0: 1: 1024 [0: 0]\n\
        @ 0x7f00ff\n  t*: 2: 1572864 [0: 0]\n  t1: 2: 1572864 [0: 0]\n\
        @ 0x7f00fe\n  t*: 0: 0 [0: 0]\n\
        \nMAPPED_LIBRARIES:\n55d000-55e000 r-xp 00000000 00:01 1 /bin/@ 0xodd\n";

    #[test]
    fn stacks_and_estimates() {
        let record = Record::parse(TEXT).unwrap();
        assert_eq!(record.rate, 524_288);
        let stack = |addresses: &[u64], objects, bytes| Stack { addresses: addresses.to_vec(), objects, bytes };
        // 1 / (1 - e^(-1/512)) = 512.5; 2 / (1 - e^(-1.5)) = 2.57
        let expected = [
            stack(&[0x55_d0a1, 0x55_d0b2], 513, 524_800),
            stack(&[0x7f_00ff], 3, 2_024_617),
            stack(&[0x7f_00fe], 0, 0),
        ];
        assert_eq!(record.stacks, expected);
    }

    #[test]
    fn an_empty_record_is_one() {
        let record = Record::parse("heap_v2/524288\n  t*: 0: 0 [0: 0]\n\nMAPPED_LIBRARIES:\n").unwrap();
        assert_eq!(record.stacks, []);
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            "heap_v1/512\n",
            "heap_v2/0\n",
            "heap_v2/524288\n  t*: 0: 0 [0: 0]\n@ 0x1\n",
            "heap_v2/524288\n  t*: 0: 0 [0: 0]\n@ 1\n  t*: 1: 1 [0: 0]\n",
            "heap_v2/524288\n  t*: 0: 0 [0: 0]\n@ 0x1\n  t*: 1: x [0: 0]\n",
        ] {
            assert_eq!(Record::parse(text), None, "{text:?}");
        }
    }
}
