//! Orderly ends of the process before it has begun to work.

/// The process must end: after `-help`, `-version`, or because of an error. [`crate::process::exit::leave`] does it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlagExit {
    /// Exit code.
    pub code: i32,
    /// Text for stdout, line ends included.
    pub stdout: String,
    /// Text for stderr, line ends included.
    pub stderr: String,
}

impl FlagExit {
    /// Exit code 1 with a line on stderr that begins with the local time.
    pub fn failure(message: &str) -> Self {
        Self { code: 1, stdout: String::new(), stderr: format!("{} {message}\n", local_time()) }
    }

    /// Exit code 2 with a line on stderr in the form that start scripts know from unusable logger settings.
    pub fn panic(message: &str) -> Self {
        Self { code: 2, stdout: String::new(), stderr: format!("panic: FATAL: {message}\n") }
    }
}

/// Local time in front of lines that do not go through the logger: `2026/11/21 17:02:33`.
pub(crate) fn local_time() -> String {
    jiff::Zoned::now().strftime("%Y/%m/%d %H:%M:%S").to_string()
}
