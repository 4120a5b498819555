//! The file queue over a file system that fails and forgets.

use super::super::memory_storage::{Faults, MemoryStorage};
use super::*;

const DIR: &str = "/q";

/// Small chunks: three or four blocks each.
const LAYOUT: Layout = Layout { chunk_size: 256, max_block: 64, reset_at: 128 };

/// Blocks of tests have a number, and a sum that shows damage.
fn block(number: u32, len: usize) -> Vec<u8> {
    let mut block = vec![0x28, 0xb5, 0x2f, 0xfd];
    block.extend_from_slice(&number.to_be_bytes());
    while block.len() + 4 < len {
        block.push(number as u8 ^ block.len() as u8);
    }
    block.extend_from_slice(&sum(&block).to_be_bytes());
    block
}

fn sum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |sum, byte| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

fn is_whole(block: &[u8]) -> bool {
    block.split_last_chunk().is_some_and(|(content, end)| content.len() >= 8 && sum(content).to_be_bytes() == *end)
}

fn number(data: &[u8]) -> u32 {
    u32::from_be_bytes(data[4..8].try_into().unwrap())
}

fn options(storage: &MemoryStorage) -> FileQueueOptions {
    FileQueueOptions {
        storage: Arc::new(storage.clone()),
        dir: DIR.into(),
        layout: LAYOUT,
        name: "1:secret-url".into(),
        is_whole,
    }
}

fn open(storage: &MemoryStorage) -> FileQueue {
    FileQueue::open(options(storage)).unwrap().0
}

fn drain(queue: &mut FileQueue) -> Vec<u32> {
    let mut numbers = Vec::new();
    while let Some(stored) = queue.read_next().unwrap() {
        numbers.push(number(&stored.data));
        queue.keep_from(queue.reader());
    }
    numbers
}

#[test]
fn blocks_come_back_in_order_over_chunks_and_restarts() {
    let storage = MemoryStorage::default();
    let mut queue = open(&storage);
    for n in 0..10 {
        queue.append(&block(n, 40)).unwrap();
    }
    assert_eq!(queue.read_next().unwrap().map(|stored| number(&stored.data)), Some(0));
    queue.keep_from(queue.reader());
    queue.flush().unwrap();
    let mut queue = open(&storage);
    assert_eq!(drain(&mut queue), (1..10).collect::<Vec<_>>());
    queue.append(&block(10, 20)).unwrap();
    assert_eq!(drain(&mut queue), [10]);
    queue.flush().unwrap();
    assert_eq!(storage.names(Path::new(DIR)), ["0000000000000000", META_FILE]);
    assert_eq!(
        storage.read(&Path::new(DIR).join(META_FILE)).unwrap(),
        br#"{"Name":"1:secret-url","ReaderOffset":0,"WriterOffset":0}"#
    );
}

#[test]
fn a_new_queue_has_the_files_upstream_expects() {
    let storage = MemoryStorage::default();
    let (mut queue, recovered) = FileQueue::open(options(&storage)).unwrap();
    assert!(recovered.is_new);
    queue.flush().unwrap();
    assert_eq!(storage.names(Path::new(DIR)), ["0000000000000000", META_FILE]);
    assert!(!queue.is_dirty());
}

#[test]
fn what_is_in_hands_is_kept() {
    let storage = MemoryStorage::default();
    let mut queue = open(&storage);
    (0..3).for_each(|n| {
        queue.append(&block(n, 20)).unwrap();
    });
    let first = queue.read_next().unwrap().unwrap();
    let second = queue.read_next().unwrap().unwrap();
    queue.keep_from(first.at);
    queue.flush().unwrap();
    assert_eq!(drain(&mut open(&storage)), [0, 1, 2]);
    queue.keep_from(second.at);
    queue.flush().unwrap();
    assert_eq!(drain(&mut open(&storage)), [1, 2]);
}

#[test]
fn a_full_disk_costs_the_new_block_only() {
    let storage = MemoryStorage::default();
    let mut queue = open(&storage);
    queue.append(&block(0, 40)).unwrap();
    storage.set_faults(Faults { room: Some(20), ..Faults::default() });
    assert!(queue.append(&block(1, 40)).is_err());
    assert!(queue.append(&block(2, 40)).is_err());
    assert!(queue.flush().is_err(), "meta does not fit either");
    storage.set_faults(Faults::default());
    queue.append(&block(3, 40)).unwrap();
    assert_eq!(drain(&mut queue), [0, 3]);
    assert_eq!(queue.take_damage(), []);
}

#[test]
fn meta_that_cannot_be_replaced_stays() {
    for faults in [
        Faults { rename_fails: true, ..Faults::default() },
        Faults { sync_fails: true, ..Faults::default() },
        Faults { room: Some(5), ..Faults::default() },
        Faults { open_fails: true, ..Faults::default() },
    ] {
        let storage = MemoryStorage::default();
        let mut queue = open(&storage);
        queue.append(&block(0, 40)).unwrap();
        queue.flush().unwrap();
        let meta = storage.read(&Path::new(DIR).join(META_FILE));
        assert_eq!(queue.read_next().unwrap().map(|stored| number(&stored.data)), Some(0));
        queue.keep_from(queue.reader());
        storage.set_faults(faults);
        assert!(queue.flush().is_err(), "{faults:?}");
        assert!(queue.is_dirty());
        assert_eq!(storage.read(&Path::new(DIR).join(META_FILE)), meta, "{faults:?}");
        storage.set_faults(Faults::default());
        queue.flush().unwrap();
        assert_eq!(drain(&mut open(&storage)), [0; 0]);
    }
}

#[test]
fn a_sector_that_cannot_be_read_is_given_up_after_a_while_and_a_lack_of_descriptors_never() {
    let storage = MemoryStorage::default();
    let mut queue = open(&storage);
    (0..8).for_each(|n| {
        queue.append(&block(n, 40)).unwrap();
    });
    storage.set_faults(Faults { read_fails: true, ..Faults::default() });
    let failed = (0..READ_ATTEMPTS - 1).filter(|_| queue.read_next().is_err()).count();
    assert_eq!(failed, READ_ATTEMPTS as usize - 1);
    storage.set_faults(Faults::default());
    assert_eq!(drain(&mut queue), (0..8).collect::<Vec<_>>(), "it came back in time");
}

#[test]
fn damage_in_the_middle_costs_what_is_damaged() {
    let f = |place: usize, bytes: &[u8], want: &[u32]| {
        let storage = MemoryStorage::default();
        let mut queue = open(&storage);
        (0..4).for_each(|n| {
            queue.append(&block(n, 22)).unwrap();
        });
        queue.flush().unwrap();
        let path = Path::new(DIR).join(chunk_name(0));
        let mut content = storage.read(&path).unwrap();
        content[place..place + bytes.len()].copy_from_slice(bytes);
        storage.write(&path, &content);
        let mut queue = open(&storage);
        assert_eq!(drain(&mut queue), want, "{bytes:?} at {place}");
        let lost = queue.take_damage().iter().map(|damage| damage.bytes).sum::<u64>();
        assert_eq!(lost, 30 * (4 - want.len() as u64), "{bytes:?} at {place}");
    };
    f(30, &[0xff; 8], &[0, 2, 3]);
    f(30, &[0; 8], &[0, 2, 3]);
    f(37, &[23], &[0, 2, 3]);
    f(37, &[21], &[0, 2, 3]);
    f(37, &[52], &[0, 2, 3]);
    f(45, &[9, 9, 9], &[0, 2, 3]);
    f(90, &[0xff; 30], &[0, 1, 2]);
    f(0, &[0xff; 60], &[2, 3]);
    f(10, &[0xff; 100], &[]);
}

#[test]
fn chunks_that_are_missing_are_skipped() {
    let f = |missing: &[u64], want: &[u32]| {
        let storage = MemoryStorage::default();
        let mut queue = open(&storage);
        (0..12).for_each(|n| {
            queue.append(&block(n, 40)).unwrap();
        });
        queue.flush().unwrap();
        for start in missing {
            storage.remove_file(&Path::new(DIR).join(chunk_name(*start))).unwrap();
        }
        let mut queue = open(&storage);
        assert_eq!(drain(&mut queue), want, "without {missing:?}");
        queue.append(&block(99, 40)).unwrap();
        assert_eq!(drain(&mut queue), [99]);
    };
    f(&[], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    f(&[0], &[4, 5, 6, 7, 8, 9, 10, 11]);
    f(&[256], &[0, 1, 2, 3, 8, 9, 10, 11]);
    f(&[512], &[0, 1, 2, 3, 4, 5, 6, 7]);
    f(&[0, 256, 512], &[]);
}

/// Appends, reads, flushes and crashes at random; the numbers of blocks are a row.
#[test]
fn a_crash_costs_only_what_was_not_flushed() {
    for seed in 0..3000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let storage = MemoryStorage::default();
        let mut queue = open(&storage);
        let (mut written, mut read) = (0_u32, 0_u32);
        let mut flushed_written = 0_u32;
        let mut flushed_read = 0_u32;
        for _ in 0..random.usize(1..60) {
            match random.u8(..9) {
                0..5 => {
                    queue.append(&block(written, random.usize(12..=64))).unwrap();
                    written += 1;
                }
                5..8 => {
                    if let Some(stored) = queue.read_next().unwrap() {
                        assert_eq!(number(&stored.data), read, "seed {seed}");
                        read += 1;
                        queue.keep_from(queue.reader());
                    }
                }
                _ => {
                    queue.flush().unwrap();
                    (flushed_written, flushed_read) = (written, read);
                }
            }
        }
        drop(queue);
        storage.crash(&mut random);
        let left = drain(&mut open(&storage));
        assert!(left.windows(2).all(|pair| pair[0] < pair[1]), "seed {seed}: {left:?}");
        assert!(
            left.iter().all(|n| (flushed_read..written).contains(n)),
            "seed {seed}: {left:?} of {flushed_read}..{flushed_written}..{written}"
        );
        let lost: Vec<u32> = (read..flushed_written).filter(|n| !left.contains(n)).collect();
        assert_eq!(lost, [0; 0], "seed {seed}: {left:?}");
    }
}

#[test]
fn no_meta_file_makes_it_panic() {
    for seed in 0..2000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let storage = MemoryStorage::default();
        let mut queue = open(&storage);
        (0..random.u32(..12)).for_each(|n| {
            queue.append(&block(n, random.usize(12..=64))).unwrap();
        });
        queue.flush().unwrap();
        let offset = |random: &mut fastrand::Rng| match random.u8(..4) {
            0 => random.u64(..),
            1 => u64::MAX - random.u64(..10),
            _ => random.u64(..800),
        };
        let meta = Offsets { reader: offset(&mut random), writer: offset(&mut random) };
        storage.write(&Path::new(DIR).join(META_FILE), meta.render("x").as_bytes());
        if random.bool() {
            storage.write(&Path::new(DIR).join(chunk_name(random.u64(..5) * 256)), &vec![0; random.usize(..300)]);
        }
        let mut queue = open(&storage);
        drain(&mut queue);
        queue.append(&block(77, 40)).unwrap();
        assert_eq!(drain(&mut queue), [77], "seed {seed}");
        queue.flush().unwrap();
    }
}
