//! The queue as a whole: directories that upstream left, outages, restarts, kills, full disks.

use super::memory_storage::{Faults, MemoryStorage};
use super::*;
use crate::remote_write::{Encoding, SeriesBlock, decode, unpack};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

const LAYOUT: Layout = Layout { chunk_size: 1 << 16, max_block: 64, reset_at: 1 << 15 };
const LONG: Duration = Duration::from_secs(20);

fn options(dir: &Path) -> QueueOptions {
    QueueOptions {
        dir: dir.to_owned(),
        name: "1:secret-url".into(),
        memory_blocks: 4,
        memory_bytes: 1 << 20,
        read_ahead: 2,
        max_disk_bytes: 0,
        memory_only: false,
        counters: QueueCounters::default(),
    }
}

/// A queue over a file system that can fail.
fn open(storage: &MemoryStorage, options: QueueOptions) -> Queue {
    Queue::open_with(options, Arc::new(storage.clone()), LAYOUT, |_| true).unwrap()
}

fn in_memory(storage: &MemoryStorage) -> Queue {
    open(storage, options(Path::new("/q")))
}

fn block(number: u8) -> Vec<u8> {
    vec![number; 30]
}

async fn take(queue: &Queue) -> Option<Lease> {
    tokio::time::timeout(LONG, queue.take(false)).await.expect("a block comes in time")
}

/// The next block, or `None` when nothing is left: what the files seem to hold may be damage.
async fn next(queue: &Queue) -> Option<Lease> {
    let start = Instant::now();
    while !queue.is_idle() {
        if let Ok(lease) = tokio::time::timeout(Duration::from_millis(20), queue.take(false)).await {
            return lease;
        }
        assert!(start.elapsed() < LONG, "a block comes in time");
    }
    None
}

/// Numbers of all blocks, acknowledged one by one.
async fn drain(queue: &Queue) -> Vec<u8> {
    let mut numbers = Vec::new();
    while let Some(lease) = next(queue).await {
        numbers.push(lease.data()[0]);
        lease.acknowledge();
    }
    numbers
}

/// Waits for the disk thread; there is no other sign of what it has done.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < LONG, "{what}");
        std::thread::yield_now();
    }
}

/// Samples of a block as the fixtures write them.
fn samples(data: &[u8]) -> Vec<Value> {
    let message = unpack(Encoding::of(data), data, 1 << 20).unwrap();
    let mut block = SeriesBlock::new();
    decode(&message, &mut block).unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut samples = Vec::new();
    for series in block.iter() {
        let labels: serde_json::Map<_, _> =
            series.labels().map(|(name, value)| (text(name), Value::from(text(value)))).collect();
        for sample in series.samples() {
            samples.push(json!({"labels": labels, "t": sample.timestamp_ms, "v": sample.value}));
        }
    }
    samples
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/agent-fixtures/queues")
}

/// A copy of a directory that upstream left, with what is said about it.
fn fixture(name: &str) -> (tempfile::TempDir, Value) {
    let from = fixtures().join(name);
    let to = tempfile::tempdir().unwrap();
    let archive = from.join("data.tar.gz");
    let done = if archive.exists() {
        std::fs::create_dir(to.path().join("data")).unwrap();
        Command::new("tar").arg("xzf").arg(&archive).arg("-C").arg(to.path().join("data")).status().unwrap()
    } else {
        Command::new("cp").arg("-r").arg(from.join("data")).arg(to.path()).status().unwrap()
    };
    assert!(done.success(), "{name}");
    let expected = serde_json::from_slice(&std::fs::read(from.join("expected.json")).unwrap()).unwrap();
    (to, expected)
}

#[tokio::test]
async fn queues_that_upstream_left_are_read_whole_and_in_order() {
    let mut seen = 0;
    for entry in std::fs::read_dir(fixtures()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let (data, expected) = fixture(&name);
        for (dir, wanted) in expected["queues"].as_object().unwrap() {
            let path = data.path().join("data").join(QUEUES_DIR).join(dir);
            let options = options(&path);
            let counters = options.counters.clone();
            let queue = Queue::open(options).unwrap();
            let mut got = Vec::new();
            while let Some(lease) = next(&queue).await {
                got.push(samples(lease.data()));
                lease.acknowledge();
            }
            queue.stop();
            match expected["wanted"]["must_deliver_metrics"].as_array() {
                Some(metrics) => {
                    let names: Vec<&Value> = got.iter().flatten().map(|sample| &sample["labels"]["__name__"]).collect();
                    let missing: Vec<&Value> = metrics.iter().filter(|metric| !names.contains(metric)).collect();
                    assert_eq!(missing, [&Value::Null; 0], "{name}: {names:?}");
                }
                None => {
                    let blocks = wanted["blocks"].as_array().unwrap().iter();
                    let want: Vec<Value> = blocks.map(|block| block["samples"].clone()).collect();
                    assert_eq!(Value::from(got), Value::from(want), "{name}/{dir}");
                    assert_eq!(counters.damages.get(), 0, "{name}/{dir}");
                }
            }
            seen += 1;
        }
    }
    assert!(seen >= 34, "{seen}");
}

#[tokio::test]
async fn foreign_files_stay_and_upstream_can_read_what_is_left() {
    let (data, _) = fixture("damaged-unknown-files");
    let root = data.path().join("data").join(QUEUES_DIR).join("1_A425343AD171E70C");
    let names = |dir: &Path| {
        let mut names: Vec<String> =
            std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let queue = Queue::open(options(&root)).unwrap();
    assert_eq!(queue.push(block(7)), Pushed::Kept);
    queue.stop();
    let want = ["0000000000000000", "0000000000000008", "000000002000008a", "flock.lock", "foo", "metainfo.json"];
    assert_eq!(names(&root), want);
    let meta = layout::Offsets::parse(&std::fs::read(root.join("metainfo.json")).unwrap()).unwrap();
    let len = std::fs::metadata(root.join("0000000000000000")).unwrap().len();
    assert_eq!((meta.reader, meta.writer, len), (0, 608 + 38, 608 + 38));
}

#[tokio::test]
async fn blocks_pass_through_memory_while_the_remote_takes_them() {
    let storage = MemoryStorage::default();
    let queue = in_memory(&storage);
    let syncs = storage.sync_count();
    for number in 0..50 {
        assert_eq!(queue.push(block(number)), Pushed::Kept);
        let lease = take(&queue).await.unwrap();
        assert_eq!(lease.data()[0], number);
        lease.acknowledge();
    }
    assert_eq!(queue.file_bytes(), 0);
    assert_eq!(storage.sync_count(), syncs);
    queue.stop();
}

#[tokio::test]
async fn more_than_memory_goes_to_the_files_and_comes_back_in_order() {
    let storage = MemoryStorage::default();
    let queue = in_memory(&storage);
    (0..40).for_each(|number| assert_eq!(queue.push(block(number)), Pushed::Kept));
    until("blocks are written", || queue.file_bytes() > 30 * 38);
    (40..43).for_each(|number| assert_eq!(queue.push(block(number)), Pushed::Kept));
    assert_eq!(drain(&queue).await, (0..43).collect::<Vec<_>>());
    until("everything is given up", || queue.pending_bytes() == 0);
    queue.stop();
}

#[tokio::test]
async fn what_is_in_hands_survives_a_stop_in_its_place() {
    let storage = MemoryStorage::default();
    let queue = in_memory(&storage);
    (0..3).for_each(|number| assert_eq!(queue.push(block(number)), Pushed::Kept));
    let hand = take(&queue).await.unwrap();
    queue.stop();
    drop(hand);
    let queue = in_memory(&storage);
    assert_eq!(drain(&queue).await, [0, 1, 2]);
    queue.stop();
    assert_eq!(drain(&in_memory(&storage)).await, [0; 0], "what was acknowledged is not sent again");
}

#[tokio::test]
async fn blocks_acknowledged_out_of_order_are_not_sent_again_after_a_stop() {
    let storage = MemoryStorage::default();
    let queue = in_memory(&storage);
    (0..12).for_each(|number| assert_eq!(queue.push(block(number)), Pushed::Kept));
    until("all are written", || queue.file_bytes() == 12 * 38);
    let mut hands = Vec::new();
    for _ in 0..4 {
        hands.push(take(&queue).await.unwrap());
    }
    hands.remove(2).acknowledge();
    hands.remove(1).acknowledge();
    queue.stop();
    let mut left = drain(&in_memory(&storage)).await;
    left.sort_unstable();
    assert_eq!(left, [0, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
}

#[tokio::test]
async fn within_two_seconds_a_crash_costs_nothing_even_what_is_in_hands() {
    let storage = MemoryStorage::default();
    let queue = in_memory(&storage);
    (0..3).for_each(|number| assert_eq!(queue.push(block(number)), Pushed::Kept));
    let hand = take(&queue).await.unwrap();
    let meta = || storage.read(Path::new("/q/metainfo.json")).unwrap();
    until("memory is written and synced", || meta().ends_with(b"\"WriterOffset\":114}"));
    storage.crash(&mut fastrand::Rng::with_seed(1));
    std::mem::forget(queue);
    let after = in_memory(&storage);
    assert_eq!(drain(&after).await, [0, 1, 2]);
    drop(hand);
}

#[tokio::test]
async fn what_was_acknowledged_is_noted_within_two_seconds_though_nothing_else_happens() {
    let storage = MemoryStorage::default();
    let queue = in_memory(&storage);
    (0..8).for_each(|number| assert_eq!(queue.push(block(number)), Pushed::Kept));
    until("all are written", || queue.file_bytes() > 7 * 38);
    assert_eq!(drain(&queue).await.len(), 8);
    let meta = || String::from_utf8(storage.read(Path::new("/q/metainfo.json")).unwrap()).unwrap();
    until("the reader's offset is synced", || meta().contains("\"ReaderOffset\":304,"));
    queue.stop();
}

#[tokio::test]
async fn a_full_disk_loses_new_blocks_only_and_sending_goes_on() {
    let storage = MemoryStorage::default();
    let options = options(Path::new("/q"));
    let counters = options.counters.clone();
    let queue = open(&storage, options);
    (0..8).for_each(|number| assert_eq!(queue.push(block(number)), Pushed::Kept));
    until("the first are written", || queue.file_bytes() == 8 * 38);
    storage.set_faults(Faults { room: Some(10), ..Faults::default() });
    (8..30).for_each(|number| {
        queue.push(block(number));
    });
    until("errors are counted", || counters.io_errors.get() > 0 && counters.unwritten_blocks.get() > 0);
    let first = take(&queue).await.unwrap();
    assert_eq!(first.data()[0], 0);
    first.acknowledge();
    storage.set_faults(Faults::default());
    let left = drain(&queue).await;
    assert_eq!(left[..11], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], "the oldest are kept: {left:?}");
    assert_eq!(queue.push(block(99)), Pushed::Kept);
    assert_eq!(drain(&queue).await, [99]);
    queue.stop();
}

#[tokio::test]
async fn over_the_limit_the_oldest_blocks_go() {
    let storage = MemoryStorage::default();
    let options = QueueOptions { max_disk_bytes: 10 * 38, ..options(Path::new("/q")) };
    let counters = options.counters.clone();
    let queue = open(&storage, options);
    (0..25).for_each(|number| {
        queue.push(block(number));
        until("memory has room", || queue.memory_blocks() < 4);
    });
    until("all are written", || counters.blocks_written.get() == 25);
    assert_eq!(counters.blocks_dropped.get(), 15);
    assert_eq!(counters.bytes_dropped.get(), 15 * 30);
    assert!(queue.file_bytes() <= 380);
    assert_eq!(drain(&queue).await, (15..25).collect::<Vec<_>>());
    queue.push(vec![7; 60]);
    queue.stop();
}

#[tokio::test]
async fn without_files_a_full_memory_blocks() {
    let storage = MemoryStorage::default();
    let memory_only = || QueueOptions { memory_only: true, ..options(Path::new("/q")) };
    let queue = open(&storage, memory_only());
    let pushed: Vec<Pushed> = (0..6).map(|number| queue.push(block(number))).collect();
    assert_eq!(pushed.iter().filter(|pushed| **pushed == Pushed::Kept).count(), 4);
    assert!(queue.is_blocked());
    queue.stop();
    let queue = open(&storage, memory_only());
    assert_eq!(queue.push(block(9)), Pushed::Dropped, "first what the last process left");
    assert_eq!(drain(&queue).await, [0, 1, 2, 3]);
    until("the files are empty", || !queue.is_blocked());
    assert_eq!(queue.push(block(9)), Pushed::Kept);
    queue.stop();
}

#[tokio::test]
async fn senders_that_wait_are_released_at_the_stop() {
    let storage = MemoryStorage::default();
    let queue = Arc::new(in_memory(&storage));
    let waiting: Vec<_> = (0..4)
        .map(|_| {
            let queue = Arc::clone(&queue);
            tokio::spawn(async move { queue.take(false).await.is_none() })
        })
        .collect();
    tokio::task::yield_now().await;
    queue.close();
    for sender in waiting {
        assert!(tokio::time::timeout(LONG, sender).await.unwrap().unwrap());
    }
    queue.stop();
}

#[test]
fn a_stop_while_the_disk_is_busy_is_not_forgotten() {
    let storage = MemoryStorage::default();
    let queue = in_memory(&storage);
    let busy = storage.pause();
    (0..4).for_each(|number| assert_eq!(queue.push(block(number)), Pushed::Kept));
    until("the full memory is being written", || queue.memory_blocks() == 0);
    queue.stop.send(()).unwrap();
    drop(busy);
    queue.stopped.lock().unwrap().recv_timeout(LONG).unwrap();
}

#[tokio::test]
async fn many_senders_get_each_block_once() {
    let storage = MemoryStorage::default();
    let queue = Arc::new(in_memory(&storage));
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    for only_fresh in [false, false, false, true] {
        let (queue, sender) = (Arc::clone(&queue), sender.clone());
        tokio::spawn(async move {
            while let Some(lease) = queue.take(only_fresh).await {
                sender.send(lease.data()[0]).unwrap();
                tokio::task::yield_now().await;
                lease.acknowledge();
            }
        });
    }
    let mut want = Vec::new();
    for number in 0..200 {
        queue.push(block(number));
        want.push(number);
        if number % 7 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let mut got = Vec::new();
    while got.len() < want.len() {
        got.push(tokio::time::timeout(LONG, receiver.recv()).await.unwrap().unwrap());
    }
    got.sort_unstable();
    assert_eq!(got, want);
    queue.stop();
}
