//! The grammar of command lines, exits and listings, on a small table.

use super::*;
use crate::env_template::Environment;
use crate::units::GoDuration;

static TABLE: &[FlagDef] = &[
    FlagDef::new("auth.config", Kind::Text, "", "Where the config is"),
    FlagDef::new("backend.TLSCAFile", Kind::Text, "", "CA file").aliases(&["backend.tlsCAFile"]),
    FlagDef::new("dryRun", Kind::Bool, "", "Only check"),
    FlagDef::new("envflag.enable", Kind::Bool, "", "Read variables"),
    FlagDef::new("envflag.prefix", Kind::Text, "", "Prefix of variables"),
    FlagDef::new("failTimeout", Kind::Duration, "3s", "Pause"),
    FlagDef::new("goOn", Kind::Bool, "true", "On by default"),
    FlagDef::new("listen", Kind::TextList, ":8427", "Addresses\nof listeners"),
    FlagDef::new("maxConcurrentRequests", Kind::Int, "1000", "Limit"),
    FlagDef::new("metricsAuthKey", Kind::Password, "", "Key"),
    FlagDef::new("percent", Kind::Float, "60", "Part"),
    FlagDef::new("policy", Kind::Text, "least_loaded", "Policy"),
    FlagDef::new("push.url", Kind::TextList, "", "Targets").secret(),
    FlagDef::new("requestBufferSize", Kind::Bytes, "32768", "Bytes"),
    FlagDef::new("retryStatusCodes", Kind::IntList, "", "Codes"),
    FlagDef::new("secret.flags", Kind::TextList, "", "Names"),
    FlagDef::new("limits", Kind::BytesList, "", "Sizes"),
    FlagDef::new("pauses", Kind::DurationList, "", "Pauses"),
    FlagDef::new("showTarget", Kind::Bool, "", "Show it"),
    FlagDef::new("target", Kind::Text, "", "Where to").shown_by("showTarget"),
    FlagDef::new("tls", Kind::BoolList, "", "HTTPS"),
    FlagDef::new("tlsAutocertHosts", Kind::TextList, "", "Hosts").refused("not built"),
    FlagDef::new("fs.disableMmap", Kind::Bool, "", "Mapping").ignored("nothing is mapped"),
    FlagDef::new("workers", Kind::Int, "cores + 1", "Threads").computed(|| "7".to_string()),
    FlagDef::new("version", Kind::Bool, "", "Show the version"),
];

fn app() -> AppInfo {
    AppInfo { name: "app", banner: "An app.\n\nSee the docs.", version: "app-v1".to_string(), defaults: &[] }
}

fn parse_with(words: &[&str], pairs: &[(&str, &str)]) -> Result<FlagSet, FlagExit> {
    let environment = Environment::from_pairs(pairs.iter().copied());
    FlagSet::parse(&[TABLE], &app(), std::iter::once(&"./app").chain(words), &environment)
}

fn parse(words: &[&str]) -> FlagSet {
    parse_with(words, &[]).unwrap()
}

fn exit(words: &[&str]) -> FlagExit {
    parse_with(words, &[]).unwrap_err()
}

#[test]
fn defaults_come_from_the_table() {
    let flags = parse(&[]);
    assert_eq!(flags.text("policy"), "least_loaded");
    assert_eq!(flags.duration("failTimeout"), GoDuration(3_000_000_000));
    assert_eq!(flags.int("workers"), 7);
    assert_eq!(flags.int("maxConcurrentRequests"), 1000);
    assert_eq!(flags.bytes("requestBufferSize").bytes(), 32768);
    assert!((flags.float("percent") - 60.0).abs() < f64::EPSILON);
    assert_eq!(flags.texts("listen"), [":8427"]);
    assert!(flags.bool("goOn") && !flags.bool("dryRun"));
    assert!(flags.ints("retryStatusCodes").is_empty() && flags.bools("tls").is_empty());
    assert!(!flags.password("metricsAuthKey").is_set() && !flags.is_set("policy"));
    assert!(flags.listing().is_empty() && flags.refusals().is_empty());
}

#[test]
fn values_stand_behind_an_equals_sign_or_in_the_next_word() {
    let f = |words: &[&str], want: &str| assert_eq!(parse(words).text("policy"), want, "{words:?}");
    f(&["-policy=a"], "a");
    f(&["--policy=a"], "a");
    f(&["-policy", "a"], "a");
    f(&["--policy", "-dryRun"], "-dryRun");
    f(&["-policy="], "");
    f(&["-policy=a=b"], "a=b");
    f(&["-policy=a", "-policy=b"], "b");
    f(&["-dryRun", "-policy=a"], "a");
    f(&["-policy=a", "--"], "a");
    assert_eq!(parse(&["-backend.tlsCAFile=x"]).text("backend.TLSCAFile"), "x");
    assert!(parse(&["-backend.tlsCAFile=x"]).is_set("backend.TLSCAFile"));
}

#[test]
fn booleans_never_take_the_next_word() {
    assert!(parse(&["-dryRun"]).bool("dryRun"));
    assert!(!parse(&["-goOn=false"]).bool("goOn"));
    assert!(!parse(&["-dryRun", "-dryRun=0"]).bool("dryRun"));
    assert_eq!(parse(&["-tls"]).bools("tls"), [true]);
    assert_eq!(parse(&["-tls", "-tls=f,,1"]).bools("tls"), [true, false, false, true]);
    let exit = exit(&["-dryRun", "true"]);
    assert_eq!((exit.code, exit.stdout.as_str()), (1, ""));
}

#[test]
fn lists_grow_and_replace_the_default() {
    let f = |words: &[&str], want: &[&str]| assert_eq!(parse(words).texts("listen"), want, "{words:?}");
    f(&["-listen=a,b", "-listen=c"], &["a", "b", "c"]);
    f(&["-listen", r#"a,"b,c""#], &["a", "b,c"]);
    f(&["-listen="], &[""]);
    f(&["-listen=a,"], &["a", ""]);
    assert_eq!(
        parse(&["-retryStatusCodes=500,,-1", "-retryStatusCodes=502"]).ints("retryStatusCodes"),
        [500, 0, -1, 502]
    );
}

#[test]
fn a_single_item_serves_every_listener() {
    let flags = parse(&["-listen=a", "-tls"]);
    assert_eq!((flags.text_at("listen", 0), flags.text_at("listen", 5)), ("a", "a"));
    assert!(flags.bool_at("tls", 3));
    let flags = parse(&["-listen=a,b", "-tls=true,false"]);
    assert_eq!((flags.text_at("listen", 1), flags.text_at("listen", 2)), ("b", ""));
    assert_eq!([0, 1, 2].map(|index| flags.bool_at("tls", index)), [true, false, false]);
}

#[test]
fn references_to_the_environment_are_replaced_first() {
    let pairs = [("P", "x,y"), ("NAME", "policy"), ("NOTHING", "")];
    let flags = parse_with(&["-%{NAME}=%{P}", "%{NOTHING}", "-listen=%{P}", "-auth.config=%{NO}"], &pairs).unwrap();
    assert_eq!(flags.text("policy"), "x,y");
    assert_eq!(flags.texts("listen"), ["x", "y"]);
    assert_eq!(flags.text("auth.config"), "%{NO}");
}

#[test]
fn wrong_command_lines_end_with_code_2_and_a_hint() {
    let f = |words: &[&str], message: &str| {
        let exit = exit(words);
        let usage = "\nAn app.\n\nSee the docs.\n\nRun \"./app -help\" in order to see the description for all the available flags\n";
        assert_eq!(
            (exit.code, exit.stdout, exit.stderr),
            (2, format!("{message}\n{usage}"), String::new()),
            "{words:?}"
        );
    };
    f(&["-foo"], "flag provided but not defined: -foo");
    f(&["-failtimeOut=1s"], "flag provided but not defined: -failtimeOut\ndid you mean -failTimeout?");
    f(&["-foo=bar"], "flag provided but not defined: -foo");
    f(&["-DryRun"], "flag provided but not defined: -DryRun\ndid you mean -dryRun?");
    f(&["---x"], "bad flag syntax: ---x");
    f(&["-=x"], "bad flag syntax: -=x");
    f(&["--=x"], "bad flag syntax: --=x");
    f(&["-auth.config"], "flag needs an argument: -auth.config");
    f(&["-dryRun=maybe"], "invalid boolean value \"maybe\" for -dryRun: parse error");
    f(&["-maxConcurrentRequests=x"], "invalid value \"x\" for flag -maxConcurrentRequests: parse error");
    f(
        &["-maxConcurrentRequests=99999999999999999999"],
        "invalid value \"99999999999999999999\" for flag -maxConcurrentRequests: value out of range",
    );
    f(
        &["-failTimeout", "5"],
        "invalid value \"5\" for flag -failTimeout: parse error\nwrite numbers with units: 30s, 5m, 1h30m",
    );
    f(&["-percent=x"], "invalid value \"x\" for flag -percent: parse error");
    f(
        &["-requestBufferSize=5B"],
        "invalid value \"5B\" for flag -requestBufferSize: strconv.ParseFloat: parsing \"5B\": invalid syntax\n\
         write a number of bytes, or one with KB, MB, GB, TB, KiB, MiB, GiB or TiB",
    );
    f(
        &["-retryStatusCodes=500,foo"],
        "invalid value \"500,foo\" for flag -retryStatusCodes: strconv.Atoi: parsing \"foo\": invalid syntax",
    );
    f(&["-tls=x"], "invalid boolean value \"x\" for -tls: strconv.ParseBool: parsing \"x\": invalid syntax");
}

#[test]
fn words_left_over_end_with_code_1() {
    let f = |words: &[&str], left: &str| {
        let exit = exit(words);
        let (date, message) = exit.stderr.split_at("2006/01/02 15:04:05".len());
        assert!(date.chars().all(|c| c.is_ascii_digit() || "/ :".contains(c)), "{date}");
        let want = format!(
            " unprocessed command-line args left: [{left}]; the most likely reason is missing `=` between boolean flag \
             name and value; see https://pkg.go.dev/flag#hdr-Command_line_flag_syntax\n"
        );
        assert_eq!((exit.code, exit.stdout.as_str(), message), (1, "", want.as_str()));
    };
    let advised = exit(&["-dryRun", "true"]).stderr;
    assert!(advised.ends_with("flag_syntax; write -dryRun=true\n"), "{advised}");
    f(&["foo"], "foo");
    f(&["-dryRun", "foo", "-nonsense"], "foo -nonsense");
    f(&["-"], "-");
    f(&["--", "-dryRun"], "-dryRun");
    f(&["-version", "x"], "x");
}

#[test]
fn help_lists_all_flags_by_name() {
    for words in [&["-help"][..], &["--help"], &["-h"], &["-dryRun", "-h", "-nonsense"]] {
        let exit = exit(words);
        assert_eq!((exit.code, exit.stderr.as_str()), (0, ""), "{words:?}");
        assert!(
            exit.stdout.starts_with("\nAn app.\n\nSee the docs.\n\n  -auth.config string\n    \tWhere the config is\n")
        );
        let has = |text: &str| assert!(exit.stdout.contains(text), "{text} is not in {}", exit.stdout);
        has("\n  -dryRun\n    \tOnly check\n  -envflag.enable\n");
        has("\n  -failTimeout duration\n    \tPause (default 3s)\n");
        has("\n  -goOn\n    \tOn by default (default true)\n");
        has("\n  -listen array\n    \tAddresses\n    \tof listeners\n    \tTakes several values");
        has("(default :8427)\n");
        has("\n  -metricsAuthKey value\n    \tKey\n");
        has("\n  -percent float\n    \tPart (default 60)\n");
        has("\n  -policy string\n    \tPolicy (default \"least_loaded\")\n");
        has("\n  -requestBufferSize size\n    \tBytes\n");
        has("\n  -tls array\n");
        has("\n  -workers int\n    \tThreads (default 7 = cores + 1)\n");
        has("\n  -fs.disableMmap\n    \tMapping\n    \tAccepted, but has no effect: nothing is mapped\n");
        let names = exit.stdout.lines().filter_map(|line| line.strip_prefix("  -")).collect::<Vec<_>>();
        assert!(names.is_sorted() && names.len() == TABLE.len());
    }
}

#[test]
fn help_with_a_value_shows_the_hint_and_errors_with_help_the_list() {
    let hint = exit(&["-help=1"]);
    assert_eq!(hint.code, 0);
    assert_eq!(
        hint.stdout,
        "\nAn app.\n\nSee the docs.\n\nRun \"./app -help\" in order to see the description for all the available flags\n"
    );
    let error = exit(&["-foo", "-help"]);
    assert_eq!(error.code, 2);
    assert!(error.stdout.starts_with("flag provided but not defined: -foo\n\nAn app."));
    assert!(error.stdout.contains("\n  -dryRun\n"));
}

#[test]
fn version_answers_after_a_successful_parse() {
    assert_eq!(exit(&["-version"]), FlagExit { code: 0, stdout: "app-v1\n".to_string(), stderr: String::new() });
    assert_eq!(exit(&["-version", "-foo"]).code, 2);
    assert!(parse_with(&["-version=false"], &[]).is_ok());
}

#[test]
fn variables_set_what_the_command_line_does_not() {
    let pairs = [
        ("VM_auth_config", "%{DIR}/c.yml"),
        ("DIR", "/etc"),
        ("VM_failTimeout", "9s"),
        ("VM_policy", ""),
        ("VM_listen", "a,b"),
        ("VM_backend_tlsCAFile", "ca"),
        ("VM_envflag_prefix", "X_"),
        ("dryRun", "true"),
        ("VM_DRYRUN", "true"),
    ];
    let flags = parse_with(&["-envflag.enable", "-envflag.prefix=VM_", "-failTimeout=1s"], &pairs).unwrap();
    assert_eq!(flags.text("auth.config"), "/etc/c.yml");
    assert_eq!(flags.duration("failTimeout"), GoDuration(1_000_000_000));
    assert_eq!((flags.text("policy"), flags.is_set("policy")), ("", true));
    assert_eq!(flags.texts("listen"), ["a", "b"]);
    assert_eq!(flags.text("backend.TLSCAFile"), "ca");
    assert_eq!(flags.text("envflag.prefix"), "VM_");
    assert!(!flags.bool("dryRun"));
    let off = parse_with(&["-envflag.prefix=VM_"], &pairs).unwrap();
    assert_eq!(off.text("auth.config"), "");
}

#[test]
fn wrong_variables_end_with_code_1() {
    let f = |variable: &str, value: &str, want: &str| {
        let exit = parse_with(&["-envflag.enable", "-envflag.prefix=VM_"], &[(variable, value)]).unwrap_err();
        assert_eq!((exit.code, exit.stdout.as_str()), (1, ""));
        assert!(exit.stderr.ends_with(&format!(" {want}\n")), "{}", exit.stderr);
    };
    f(
        "VM_failTimeout",
        "9",
        "cannot set flag failTimeout to \"9\", which is read from env var \"VM_failTimeout\": parse error",
    );
    f("VM_dryRun", "", "cannot set flag dryRun to \"\", which is read from env var \"VM_dryRun\": parse error");
}

#[test]
fn a_flag_may_lift_the_mask_of_another_but_not_that_of_secret_flags() {
    let shown = |words: &[&str]| {
        let lines = parse(words).listing();
        lines.into_iter().find(|line| line.name == "target").map(|line| line.value)
    };
    assert_eq!(shown(&["-target=a"]).as_deref(), Some("secret"));
    let whole = Some("http://u:p@h/?x=y");
    assert_eq!(shown(&["-target=http://u:p@h/?x=y", "-showTarget"]).as_deref(), whole);
    assert_eq!(shown(&["-target=a", "-showTarget", "-secret.flags=target"]).as_deref(), Some("secret"));
}

#[test]
fn items_of_lists_of_quantities_are_checked_and_may_be_empty() {
    let flags = parse(&["-pauses=10s,,20s", "-limits=1073741824,,2GiB"]);
    assert_eq!(flags.texts("pauses"), ["10s", "", "20s"]);
    assert_eq!(flags.text_at("limits", 2), "2GiB");
    for wrong in ["-pauses=10", "-pauses=1s,x", "-limits=10XB", "-limits=,-"] {
        let exit = parse_with(&[wrong], &[]).unwrap_err();
        assert_eq!(exit.code, 2, "{wrong}");
    }
}

#[test]
fn help_says_once_that_a_flag_is_not_supported() {
    let rows = [FlagDef::new("a", Kind::Bool, "", "A").refused("not supported: nobody built it")];
    let page = markdown_page(&app(), "", &[&rows]);
    assert!(page.contains("A. **Not supported**: nobody built it"), "{page}");
}

#[test]
fn listings_are_sorted_canonical_and_masked() {
    let words = [
        "-requestBufferSize=12kib",
        "-failTimeout=90s",
        "-listen=a,\"b,c\"",
        "-tls=1,f",
        "-metricsAuthKey=hunter2",
        "-push.url=http://u:p@h/",
        "-secret.flags=policy,-auth.config",
        "-policy=hunter3",
        "-auth.config=hunter4",
        "-dryRun",
    ];
    let flags = parse(&words);
    let lines: Vec<_> = flags.listing().iter().map(FlagLine::line).collect();
    let want = [
        r#"-auth.config="secret""#,
        r#"-dryRun="true""#,
        r#"-failTimeout="1m30s""#,
        r#"-listen="a,\"b,c\"""#,
        r#"-metricsAuthKey="secret""#,
        r#"-policy="secret""#,
        r#"-push.url="secret""#,
        r#"-requestBufferSize="12KiB""#,
        r#"-secret.flags="secret""#,
        r#"-tls="true,false""#,
    ];
    assert_eq!(lines, want);
    let all = flags.all();
    assert_eq!(all.len(), TABLE.len());
    assert!(all.is_sorted_by_key(|line| line.name));
    let value = |name: &str| all.iter().find(|line| line.name == name).map(|line| (line.value.as_str(), line.is_set));
    assert_eq!(value("percent"), Some(("60", false)));
    assert_eq!(value("goOn"), Some(("true", false)));
    assert_eq!(value("maxConcurrentRequests"), Some(("1000", false)));
    assert!(!format!("{flags:?}").contains("hunter"));
}

#[test]
fn groups_become_one_table() {
    static COMMON: &[FlagDef] = &[
        FlagDef::new("b", Kind::Text, "common", "Of {app}"),
        FlagDef::new("a", Kind::Int, "1", "Number").ignored("{app} has none"),
        FlagDef::new("c", Kind::Text, "", "Text"),
    ];
    static OWN: &[FlagDef] = &[FlagDef::new("b", Kind::Text, "own", "Mine"), FlagDef::new("d", Kind::Bool, "", "More")];
    let app = AppInfo { defaults: &[("c", "mine")], ..app() };
    let words = |words: &'static [&'static str]| std::iter::once("./app").chain(words.iter().copied());
    let flags = FlagSet::parse(&[COMMON, OWN], &app, words(&["-d"]), &Environment::default()).unwrap();
    assert_eq!((flags.int("a"), flags.text("b"), flags.text("c"), flags.bool("d")), (1, "own", "mine", true));
    let page = markdown_page(&app, "", &[COMMON]);
    assert!(page.contains("| Of app |") && page.contains("app has none") && page.contains("`mine`"), "{page}");
    let help = FlagSet::parse(&[COMMON, OWN], &app, words(&["-help"]), &Environment::default()).unwrap_err();
    assert!(help.stdout.contains("app has none") && !help.stdout.contains("{app}"), "{}", help.stdout);
}

#[test]
fn a_refused_flag_is_told_only_when_set() {
    assert_eq!(parse(&["-tlsAutocertHosts=a"]).refusals(), ["-tlsAutocertHosts: not built"]);
}

#[test]
fn the_page_does_not_depend_on_the_machine() {
    let page = markdown_page(&app(), "All of them.", &[TABLE]);
    let has = |text: &str| assert!(page.contains(text), "{text} is not in {page}");
    has("# Flags of app\n\nAll of them.\n\n| Flag |");
    has("| `-workers` | int | cores + 1 | Threads |");
    has("| `-failTimeout` | duration | `3s` | Pause |");
    has("| `-backend.TLSCAFile` | string |  | CA file. Also accepted as `-backend.tlsCAFile` |");
    has("| `-fs.disableMmap` | bool |  | Mapping. **No effect**: nothing is mapped |");
    has("| `-listen` | array | `:8427` | Addresses of listeners |");
}

#[test]
#[should_panic(expected = "BUG: there is no flag -nope")]
fn unknown_names_are_mistakes() {
    parse(&[]).bool("nope");
}

#[test]
#[should_panic(expected = "BUG: the flag -dryRun is read as another kind")]
fn wrong_kinds_are_mistakes() {
    parse(&[]).int("dryRun");
}
