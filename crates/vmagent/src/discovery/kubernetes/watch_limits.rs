//! How long lists, watches and the waits between them may take.

use std::time::Duration;

/// Limits of time. Tests have shorter ones.
#[derive(Clone, Debug)]
pub struct WatchLimits {
    /// `timeoutSeconds` of a watch.
    pub watch: Duration,
    /// A watch without a byte for so long is taken for dead; bookmarks come once a minute.
    pub silence: Duration,
    /// For a whole list.
    pub list: Duration,
    /// Between two pieces of a list.
    pub list_piece: Duration,
    /// A streaming list that has not begun by then is asked for in the plain form.
    pub list_start: Duration,
    /// The shortest wait after a failure, and between two watches that end at once.
    pub retry: Duration,
    /// The whole list is read again after this time and up to twice as much; zero: never.
    pub relist: Duration,
}

impl Default for WatchLimits {
    fn default() -> Self {
        Self {
            watch: Duration::from_secs(1620),
            silence: Duration::from_secs(150),
            list: Duration::from_secs(300),
            list_piece: Duration::from_secs(30),
            list_start: Duration::from_secs(10),
            retry: Duration::from_secs(1),
            relist: Duration::from_secs(3600),
        }
    }
}
