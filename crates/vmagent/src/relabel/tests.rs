//! Actions and their edges; the larger tables are in the black-box kit.

use super::*;

fn rule(action: &str) -> RuleSpec {
    RuleSpec { action: Some(action.to_owned()), ..RuleSpec::default() }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn buf(text: &str) -> LabelBuf {
    let mut labels = LabelBuf::new();
    for pair in text.split_whitespace() {
        let (name, value) = pair.split_once('=').unwrap();
        labels.push(name.as_bytes(), value.replace("\\n", "\n").as_bytes());
    }
    labels
}

fn text(labels: &LabelBuf) -> String {
    let pair = |(name, value): (&[u8], &[u8])| {
        format!("{}={}", String::from_utf8_lossy(name), String::from_utf8_lossy(value).replace('\n', "\\n"))
    };
    labels.iter().map(pair).collect::<Vec<_>>().join(" ")
}

fn check(specs: &[RuleSpec], input: &str, want: &str) {
    let rules = RelabelRules::build(specs).unwrap();
    let mut labels = buf(input);
    let kept = rules.apply(&mut labels);
    assert_eq!(if kept { text(&labels) } else { "dropped".to_owned() }, want, "{specs:?} on {input}");
}

#[test]
fn replace() {
    let spec = |sources: &str, regex: Option<&str>, target: &str, replacement: Option<&str>| RuleSpec {
        source_labels: words(sources),
        regex: regex.map(Into::into),
        target_label: Some(target.to_owned()),
        replacement: replacement.map(Into::into),
        ..RuleSpec::default()
    };
    let f = |sources, regex, target, replacement, input, want| {
        check(&[spec(sources, regex, target, replacement)], input, want);
    };
    f("a", None, "t", None, "m=1 a=x", "m=1 a=x t=x");
    f("a", None, "t", None, "m=1 t=old", "m=1");
    f("a b", None, "t", None, "a=x", "a=x t=x;");
    f("a", Some("b"), "t", Some("yes"), "a=abc", "a=abc");
    f("a", Some("(.)"), "t_$1", Some("r-${1}-$0"), "a=x", "a=x t_x=r-x-x");
    f("", None, "a", Some(""), "a=x b=y", "b=y");
    f("", Some("foo"), "a", Some("1"), "a=x", "a=x");
    f("", None, "t", Some("{{a}}-{{zz}}-{{b}}"), "a=x b=y", "a=x b=y t=x--y");
    f("a", Some("(.).*"), "t", Some("$1/{{b}}"), "a=xyz b=y", "a=xyz b=y t=x/y");
    f("a", Some("one.*"), "t", Some("hit"), "a=one\\ntwo", "a=one\\ntwo t=one\\ntwo");
    f("a", Some("one.*"), "t", Some("hit"), "a=onetwo", "a=onetwo t=hit");
    f("", None, "t", Some("{{a"), "a=x", "a=x t={{a");
    f("b", None, "a", None, "a=1 b=2 c=3", "a=2 b=2 c=3");
}

#[test]
fn actions_on_names() {
    let map = |action: &str, regex: &str, replacement: &str| RuleSpec {
        regex: Some(regex.to_owned()),
        replacement: Some(replacement.to_owned()),
        ..rule(action)
    };
    let f = |spec: RuleSpec, input, want| check(&[spec], input, want);
    f(map("labelmap", "(a|b)", "new_$1"), "a=x b=y c=z", "a=x b=y c=z new_a=x new_b=y");
    f(map("labelmap", "(a|b)", "new_$1"), "a=x new_a=old", "a=x new_a=x");
    f(map("labelmap", "b", "c"), "a=1 b=2", "a=1 b=2 c=2");
    f(map("labelmap_all", "o", "0"), "foo=x bar=y", "f00=x bar=y");
    f(map("labeldrop", "a|b.*", "$1"), "a=1 b=2 bb=3 ab=4", "ab=4");
    f(map("labelkeep", "a", "$1"), "m=1 a=2", "a=2");
    f(map("labelkeep", "z", "$1"), "m=1 a=2", "dropped");
}

#[test]
fn filters() {
    let filter = |action: &str, sources: &str, regex: Option<&str>| RuleSpec {
        source_labels: words(sources),
        regex: regex.map(Into::into),
        ..rule(action)
    };
    let f = |spec: RuleSpec, input, want| check(&[spec], input, want);
    f(filter("keep", "a", Some("x.*")), "a=xy", "a=xy");
    f(filter("keep", "a", Some("x.*")), "b=xy", "dropped");
    f(filter("DROP", "a", None), "b=x", "dropped");
    f(filter("drop", "a", Some("")), "b=x", "dropped");
    f(filter("keep_metrics", "", Some("m|n")), "__name__=m", "__name__=m");
    f(filter("drop_metrics", "", Some("m|n")), "__name__=m", "dropped");
    f(filter("keep_if_equal", "a b", None), "a=x", "dropped");
    f(filter("keep_if_equal", "a b", None), "m=x", "m=x");
    f(filter("drop_if_equal", "a b", None), "a=x b=x", "dropped");
    let target = |action: &str, sources: &str| RuleSpec {
        source_labels: words(sources),
        target_label: Some("t".to_owned()),
        ..rule(action)
    };
    f(target("keepequal", "a b"), "a=x b=y t=x;y", "a=x b=y t=x;y");
    f(target("dropequal", "a"), "m=1", "dropped");
    f(target("keep_if_contains", "a b"), "a=x b=y t=yx", "a=x b=y t=yx");
    f(target("drop_if_contains", "a"), "t=z", "dropped");
    f(target("uppercase", "a b"), "a=x b=é", "a=x b=é t=X;É");
    let hash = |modulus| RuleSpec { modulus: Some(modulus), ..target("hashmod", "a") };
    f(hash(1_000_000_000_000), "a=x", "a=x t=201184043299");
    f(hash(1_000_000_000_000), "m=1", "m=1 t=254077376921");
    f(hash(9_223_372_036_854_775_807), "a=0123456789", "a=0123456789 t=4566581271137380327");
}

#[test]
fn conditions() {
    let with = |spec: RuleSpec, conditions: &[&str]| RuleSpec {
        conditions: conditions.iter().map(|text| (*text).to_owned()).collect(),
        ..spec
    };
    let f = |spec: RuleSpec, input, want| check(&[spec], input, want);
    let set = || RuleSpec { target_label: Some("t".to_owned()), replacement: Some("1".to_owned()), ..rule("replace") };
    f(with(set(), &["{a=\"x\"}"]), "a=x", "a=x t=1");
    f(with(set(), &["{a=\"x\"}"]), "a=y", "a=y");
    f(with(set(), &["foo", "{a=\"y\"}"]), "a=y", "a=y t=1");
    f(with(rule("keep"), &["{a=\"x\"}"]), "a=y", "dropped");
    f(with(rule("keep"), &["{a=\"x\"}"]), "a=x", "a=x");
    f(with(rule("drop"), &["{a=\"x\"}"]), "a=x", "dropped");
}

#[test]
fn wrong_rules() {
    let f = |spec: RuleSpec, want: &str| {
        let errors = RelabelRules::build(&[rule("keep_if_equal"), spec]).unwrap_err();
        assert_eq!(errors.last().map(|(index, error)| (*index, error.to_string())), Some((1, want.to_owned())));
        assert_eq!(errors.len(), 2);
    };
    f(rule("replace"), "missing `target_label` for `action=replace`");
    f(rule("KEEP"), "missing `source_labels` for `action=keep`");
    f(rule("explode"), "unknown `action` \"explode\"");
    f(rule("drop_metrics"), "missing `regex` for `action=drop_metrics`");
    f(rule("graphite"), "missing `match` for `action=graphite`");
    f(
        RuleSpec { regex: Some("((".into()), ..rule("labeldrop") },
        "cannot parse `regex` \"((\": error parsing regexp: missing closing ): `^(?:(()$`",
    );
}

#[test]
fn traces_tell_what_each_rule_did() {
    let set = RuleSpec { target_label: Some("t".to_owned()), replacement: Some("1".to_owned()), ..RuleSpec::default() };
    let drop = RuleSpec { source_labels: words("t"), ..rule("drop") };
    let rules = RelabelRules::build(&[set.clone(), drop, set]).unwrap();
    let steps = rules.trace(&mut buf("a=x"));
    assert_eq!(steps.len(), 2);
    assert_eq!(steps[0].rule, "target_label: t\nreplacement: \"1\"\n");
    assert_eq!(
        (steps[0].before.to_string(), steps[0].after.to_string()),
        ("{a=\"x\"}".into(), "{a=\"x\",t=\"1\"}".into())
    );
    assert!(steps[1].after.is_empty());
    assert!(rules.to_yaml().starts_with("- target_label: t\n  replacement: \"1\"\n- action: drop\n"));
}
