//! A file of rules, a line of three dashes, and labels `name=value` a line: no panic, and no label without value is left.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vmagent::config::parse_rules;
use vmagent::labels::LabelBuf;
use vmkit::env_template::Environment;

fuzz_target!(|text: &str| {
    let (rules, labels) = text.split_once("\n---\n").unwrap_or((text, "__name__=m\na=x\nb=y"));
    let Ok(rules) = parse_rules("rules.yml", rules.as_bytes(), &Environment::default()) else { return };
    let mut buf = LabelBuf::new();
    for line in labels.lines() {
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        buf.push(name.as_bytes(), value.as_bytes());
    }
    let mut traced = buf.clone();
    let kept = rules.apply(&mut buf);
    rules.trace(&mut traced);
    if kept {
        assert!(!buf.is_empty() && buf.iter().all(|(name, value)| !name.is_empty() && !value.is_empty()));
        assert!(buf.iter().eq(traced.iter()));
    }
});
