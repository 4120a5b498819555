//! Forms of lines, levels, limits, counters and the exits of wrong options.

use super::*;

/// 2026-11-21T17:02:33.855Z
const TIME: u64 = 1_795_280_553_855;

fn logger(change: impl FnOnce(&mut LoggerOptions)) -> (Logger, Sink) {
    let mut options = LoggerOptions::default();
    change(&mut options);
    let sink = Sink::memory();
    (Logger::new(options.settings().unwrap(), sink.clone()), sink)
}

fn line(change: impl FnOnce(&mut LoggerOptions), message: &str) -> String {
    static SITE: Site = Site::new(Level::Warn, "VictoriaMetrics/x.rs:1");
    let (logger, sink) = logger(change);
    logger.log(&SITE, format_args!("{message}"), TIME);
    logger.flush();
    sink.text()
}

#[test]
fn default_lines() {
    let f = |timezone: &str, message: &str, want: &str| {
        assert_eq!(line(|options| options.timezone = timezone.to_string(), message), want);
    };
    f("UTC", "hello", "2026-11-21T17:02:33.855Z\twarn\tVictoriaMetrics/x.rs:1\thello\n");
    f("UTC", "a\nb\n\n", "2026-11-21T17:02:33.855Z\twarn\tVictoriaMetrics/x.rs:1\ta\nb\n");
    f("UTC", "", "2026-11-21T17:02:33.855Z\twarn\tVictoriaMetrics/x.rs:1\t\n");
    f("Europe/Warsaw", "x", "2026-11-21T18:02:33.855+0100\twarn\tVictoriaMetrics/x.rs:1\tx\n");
    f("America/St_Johns", "x", "2026-11-21T13:32:33.855-0330\twarn\tVictoriaMetrics/x.rs:1\tx\n");
    f("Europe/London", "x", "2026-11-21T17:02:33.855Z\twarn\tVictoriaMetrics/x.rs:1\tx\n");
    assert_eq!(line(|options| options.disable_timestamps = true, "x"), "warn\tVictoriaMetrics/x.rs:1\tx\n");
}

#[test]
fn json_lines() {
    let json = |options: &mut LoggerOptions| options.format = "json".to_string();
    assert_eq!(
        line(json, "say \"hi\" <'>\x01\n"),
        "{\"ts\":\"2026-11-21T17:02:33.855Z\",\"level\":\"warn\",\"caller\":\"VictoriaMetrics/x.rs:1\",\
         \"msg\":\"say \\\"hi\\\" <'>\\u0001\"}\n"
    );
    let renamed = |options: &mut LoggerOptions| {
        json(options);
        options.json_fields = "ts:time, msg:message,caller:a\"b".to_string();
        options.disable_timestamps = true;
    };
    assert_eq!(line(renamed, "x"), "{\"level\":\"warn\",\"a\\\"b\":\"VictoriaMetrics/x.rs:1\",\"message\":\"x\"}\n");
}

#[test]
fn time_is_rendered_anew_each_second() {
    static SITE: Site = Site::new(Level::Info, "l");
    let (logger, sink) = logger(|_| {});
    for millis in [TIME, TIME + 1, TIME + 145, TIME] {
        logger.log(&SITE, format_args!("x"), millis);
    }
    logger.flush();
    let times: Vec<_> =
        sink.text().lines().map(|line| line.split('\t').next().unwrap_or_default().to_string()).collect();
    let want = ["33.855Z", "33.856Z", "34.000Z", "33.855Z"].map(|end| format!("2026-11-21T17:02:{end}"));
    assert_eq!(times, want);
}

#[test]
fn lines_below_the_level_are_counted_only() {
    static INFO: Site = Site::new(Level::Info, "level/info");
    static ERROR: Site = Site::new(Level::Error, "level/error");
    let (logger, sink) = logger(|options| options.level = "ERROR".to_string());
    logger.log(&INFO, format_args!("a"), TIME);
    logger.log(&INFO, format_args!("b"), TIME);
    logger.access_line(&INFO, b"c", TIME);
    logger.log(&ERROR, format_args!("d"), TIME);
    logger.flush();
    assert_eq!(sink.text(), "2026-11-21T17:02:33.855Z\terror\tlevel/error\td\n");
    let counts = message_counts();
    let count = |location: &str| counts.iter().filter(|c| c.location == location).collect::<Vec<_>>();
    assert_eq!(
        count("level/info"),
        [&MessageCount { level: "info", location: "level/info", is_printed: false, count: 3 }]
    );
    assert_eq!(
        count("level/error"),
        [&MessageCount { level: "error", location: "level/error", is_printed: true, count: 1 }]
    );
}

#[test]
fn warnings_and_errors_have_limits_of_their_own() {
    static WARN: Site = Site::new(Level::Warn, "rate/warn");
    static ERROR: Site = Site::new(Level::Error, "rate/error");
    static INFO: Site = Site::new(Level::Info, "rate/info");
    let (logger, sink) = logger(|options| {
        options.warns_per_second = 2;
        options.errors_per_second = 1;
        options.disable_timestamps = true;
    });
    for number in 0..4 {
        for site in [&WARN, &ERROR, &INFO] {
            logger.log(site, format_args!("{number}"), TIME);
        }
    }
    logger.log(&WARN, format_args!("next"), TIME + 1000);
    logger.flush();
    let lines = |location: &str| {
        let text = sink.text();
        let of_location =
            text.lines().filter_map(|line| line.split_once(location)).map(|(_, message)| message.to_string());
        of_location.collect::<Vec<_>>()
    };
    assert_eq!(lines("rate/warn\t"), ["0", "1", "suppressing log message with rate limit=2: 2", "next"]);
    assert_eq!(lines("rate/error\t"), ["0", "suppressing log message with rate limit=1: 1"]);
    assert_eq!(lines("rate/info\t"), ["0", "1", "2", "3"]);
    let dropped = message_counts().into_iter().find(|c| c.location == "rate/error" && !c.is_printed);
    assert_eq!(dropped.map(|c| c.count), Some(2));
}

#[test]
fn long_arguments_are_shortened() {
    let text = line(|options| (options.max_arg_len, options.disable_timestamps) = (10, true), &"ab".repeat(20));
    assert_eq!(text, "warn\tVictoriaMetrics/x.rs:1\tabab..abab\n");
}

#[test]
fn access_lines_are_written_by_flush_in_the_same_form() {
    static SITE: Site = Site::new(Level::Info, "access");
    let (logger, sink) = logger(|_| {});
    logger.access_line(&SITE, b"access_log a=\"b\"", TIME);
    logger.flush();
    assert_eq!(sink.text(), "2026-11-21T17:02:33.855Z\tinfo\taccess\taccess_log a=\"b\"\n");
}

#[test]
fn macros_state_their_place_and_reach_the_log_of_the_process() {
    let captured = capture();
    let (number, line) = (5, line!() + 1);
    crate::warn!("number {number} of {}", 6);
    access_line(crate::location!(), b"from access");
    let text = captured.text();
    let place = format!("VictoriaMetrics/{}:{line}", file!());
    assert!(text.contains(&format!("Z\twarn\t{place}\tnumber 5 of 6\n")), "{text}");
    assert!(text.contains("\tfrom access\n"), "{text}");
    assert!(place.starts_with("VictoriaMetrics/crates/vmkit/src/logger/tests.rs:"), "{place}");
    assert!(message_counts().iter().any(|c| c.location == place && c.is_printed));
}

/// Not a test: what the child process of the next test does.
#[test]
#[ignore = "ends the process"]
fn dies_by_fatal() {
    access_line(crate::location!(), b"waiting line");
    crate::fatal!("cannot {}", "go on");
}

#[test]
fn fatal_ends_the_process_with_255_even_when_nobody_reads_stderr() {
    use std::io::Read as _;
    use std::process::{Command, Stdio};
    for is_read in [true, false] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "logger::tests::dies_by_fatal"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = child.stderr.take();
        if let Some(mut stderr) = stderr.filter(|_| is_read) {
            let mut text = String::new();
            stderr.read_to_string(&mut text).unwrap();
            let lines: Vec<_> = text.lines().collect();
            assert!(
                matches!(lines[..], [access, fatal] if access.ends_with("\twaiting line")
                && fatal.contains("\tfatal\tVictoriaMetrics/crates/vmkit/src/logger/tests.rs:")
                && fatal.ends_with("\tcannot go on")),
                "{text}"
            );
        }
        assert_eq!(child.wait().unwrap().code(), Some(255));
    }
}

#[test]
fn wrong_options_are_exits() {
    let f = |change: fn(&mut LoggerOptions), code: i32, want: &str| {
        let mut options = LoggerOptions::default();
        change(&mut options);
        let exit = options.settings().unwrap_err();
        assert_eq!((exit.code, exit.stdout.as_str()), (code, ""));
        let message = if code == 1 { exit.stderr.get(20..).unwrap_or_default() } else { exit.stderr.as_str() };
        assert_eq!(message, format!("{want}\n"));
    };
    f(
        |options| options.level = "info".to_string(),
        2,
        "panic: FATAL: unsupported `-loggerLevel` value: \"info\"; supported values are: INFO, WARN, ERROR, FATAL, PANIC",
    );
    f(
        |options| options.format = "foo".to_string(),
        2,
        "panic: FATAL: unsupported `-loggerFormat` value: \"foo\"; supported values are: default, json",
    );
    f(
        |options| options.output = "foo".to_string(),
        2,
        "panic: FATAL: unsupported `loggerOutput` value: \"foo\"; supported values are: stderr, stdout",
    );
    f(|options| options.timezone = "foo".to_string(), 1, "cannot load timezone \"foo\": unknown time zone foo");
    f(
        |options| options.json_fields = "foo".to_string(),
        1,
        "missing ':' delimiter in -loggerJSONFields=\"foo\" for \"foo\" item",
    );
    f(
        |options| options.json_fields = "ts:a,foo:bar".to_string(),
        1,
        "unexpected json field name in -loggerJSONFields=\"ts:a,foo:bar\": \"foo\"; supported values: ts, level, caller, msg",
    );
}
