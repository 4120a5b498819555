//! Follows the files that the config names: passwords, tokens, keys (docs/config-reload.md).
//!
//! Looks at them every two seconds, on a thread of its own, and builds the config that serves again when one has changed; the
//! config file itself is not read for that. What cannot be used changes nothing and is told once. Certificates of backends
//! are followed by their own task.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{MissedTickBehavior, interval};
use vmkit::blocking::Slot;

use super::history::Loaded;
use super::reload::Controller;
use crate::generation::{Generation, Serving};

/// Pause between two looks.
const PAUSE: Duration = Duration::from_secs(2);
/// Time for one look.
const LIMIT: Duration = Duration::from_secs(30);

/// What tells that a file is another one, or was written: device, number, size, and when, to the nanosecond.
type Stamp = (u64, u64, u64, i64, i64, i64, i64);

/// Those of all files; nothing for a file that is not there.
type Stamps = BTreeMap<String, Option<Stamp>>;

/// Follows the files for ever.
pub async fn follow_files(controller: Arc<Mutex<Controller>>, serving: Arc<Serving<Generation>>) {
    let mut ticks = interval(PAUSE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Of its own: a file that hangs must not stop reloads of the config before they come to it.
    let slot = Slot::default();
    let mut seen: Option<(Arc<Loaded>, Stamps)> = None;
    loop {
        ticks.tick().await;
        let loaded = controller.lock().await.loaded.clone().filter(|loaded| !loaded.named_files.is_empty());
        let Some(loaded) = loaded else { continue };
        let looked_at = loaded.clone();
        let Ok(stamps) = slot.run(LIMIT, move || stamps(&looked_at)).await else { continue };
        if seen.as_ref().is_some_and(|(of, before)| Arc::ptr_eq(of, &loaded) && *before == stamps) {
            continue;
        }
        let is_settled = controller.lock().await.use_changed_files(&loaded, &serving).await;
        seen = is_settled.then_some((loaded, stamps));
    }
}

fn stamps(loaded: &Loaded) -> Stamps {
    let stamp = |path: &String| {
        let about = std::fs::metadata(path).ok()?;
        let (written, changed) = ((about.mtime(), about.mtime_nsec()), (about.ctime(), about.ctime_nsec()));
        Some((about.dev(), about.ino(), about.size(), written.0, written.1, changed.0, changed.1))
    };
    loaded.named_files.keys().map(|path| (path.clone(), stamp(path))).collect()
}
