//! What every thread of the process is doing, as far as the kernel can tell.
//!
//! For the report of SIGQUIT: it asks no thread, so one that is stuck shows up as what it is stuck in.

use std::fmt::Write as _;

/// One line a thread: name, state (`R` runs, `S` sleeps, `D` waits for a device), the kernel function that it waits in
/// and the processor time that it has used.
pub fn report() -> String {
    let mut lines = String::new();
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return lines };
    let mut folders: Vec<_> = tasks.flatten().map(|task| task.path()).collect();
    folders.sort();
    for folder in folders {
        let text = |file: &str| std::fs::read_to_string(folder.join(file)).unwrap_or_default();
        let stat = text("stat");
        // The name may hold blanks and brackets; fields are counted behind it.
        let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let field = |at: usize| fields.get(at).copied().unwrap_or("?");
        let ticks = |at: usize| field(at).parse::<u64>().unwrap_or_default();
        let waits_in = text("wchan");
        let _ = writeln!(
            lines,
            "thread {} {:?}: state {}, waits in {}, {} ticks of processor time",
            folder.file_name().unwrap_or_default().to_string_lossy(),
            text("comm").trim_end(),
            field(0),
            if waits_in.is_empty() { "?" } else { &waits_in },
            ticks(11) + ticks(12)
        );
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_named_with_what_they_do() {
        let (stop, wait) = std::sync::mpsc::channel::<()>();
        let thread =
            std::thread::Builder::new().name("a (b) c".to_owned()).spawn(move || wait.recv().is_err()).unwrap();
        let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while !report().lines().any(|line| line.contains("\"a (b) c\": state S, waits in ")) {
            assert!(std::time::Instant::now() < until, "{}", report());
            std::thread::yield_now();
        }
        drop(stop);
        thread.join().unwrap();
    }
}
