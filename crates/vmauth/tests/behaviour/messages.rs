//! Mistakes that people make in configs, flags and files: each is named where it stands, with what to write instead.

use std::fs;
use std::path::Path;
use std::process::Command;

use testkit::{Backend, Launch, PATIENCE};

use crate::vmauth::{Vmauth, binary, one_user};

const USER: &str = "users:\n- username: u\n  password: 'p'\n";
const ROUTE: &str = "  url_prefix: http://127.0.0.1:1/\n";

/// Code and log of `-dryRun`.
fn dry_run(dir: &Path, config: &str, flags: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String) {
    fs::write(dir.join("auth.yml"), config).expect("the folder can be written");
    let mut command = Command::new(binary());
    command.args(["-auth.config=auth.yml", "-dryRun"]).args(flags).current_dir(dir);
    let output = command.envs(variables.iter().copied()).output().expect("vmauth starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

/// `-dryRun` ends with this code, and a line of its log has this text.
#[track_caller]
fn check(config: &str, flags: &[&str], code: i32, want: &[&str]) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (got, log) = dry_run(dir.path(), config, flags, &[]);
    assert_eq!(got, Some(code), "{log}");
    for want in want {
        assert!(log.contains(want), "no {want:?} in\n{log}");
    }
}

#[test]
fn fields_and_values_of_a_config() {
    let f = |rest: &str, want: &str| check(&format!("{USER}{rest}"), &[], 255, &[want]);
    let route = |line: &str| format!("  url_map:\n  - src_paths: [/a]\n    url_prefix: http://a/\n    {line}\n");
    f(
        &route("max_concurrent_requests: 3"),
        "users[0].url_map[0].max_concurrent_requests (line 7, column 5): there is no field max_concurrent_requests here; it belongs one level up",
    );
    f(
        &format!("  access_log: true\n{ROUTE}"),
        "users[0].access_log (line 4, column 15): want an object, got `true`; write `access_log: {}`",
    );
    f(
        &format!("  headers: {{X-A: b}}\n{ROUTE}"),
        "users[0].headers (line 4, column 12): want a list, got an object; write a list of texts: `- \"Name: value\"`",
    );
    let paths = |path: &str| format!("  url_map:\n  - src_paths: ['{path}']\n    url_prefix: http://a/\n");
    f(&paths("*"), "this is a regular expression: write `.*` for any text");
    f(&paths("(/a"), "users[0].url_map[0].src_paths[0] (line 5, column 17): cannot build regexp");
    f(&paths("(?!/a).*"), "there are no look-arounds: list what is refused in `deny_paths`");
    f(&format!("  headers: ['X: {{{{ .MetricsTenant }}}}']\n{ROUTE}"), "write it without blanks: {{.MetricsTenant}}");
    check(
        "users:\n- username: u\n\tpassword: p\n",
        &[],
        255,
        &["line 3, column 1: yaml: a tab indents the line; write blanks"],
    );
    check(
        "users:\n- username: 'u\n  password: p\n",
        &[],
        255,
        &["line 2, column 13: yaml: the quote that opens here is never closed"],
    );
    let jwt = |jwt: &str| format!("users:\n- jwt: {{{jwt}}}\n{ROUTE}");
    check(
        &jwt("skip_verify: true, vm_default_access_claim: {}"),
        &[],
        255,
        &["did you mean `default_vm_access_claim`?"],
    );
    let cut = "public_keys: ['-----BEGIN PUBLIC KEY-----...-----END PUBLIC KEY-----']";
    check(
        &jwt(cut),
        &[],
        255,
        &["users[0].jwt.public_keys[0] (line 2, column 23)", "its content is cut: copy the whole block"],
    );
}

#[test]
fn what_loads_and_is_not_meant() {
    let f = |config: &str, want: &str| check(config, &[], 0, &[want, "1 warning"]);
    let user = |line: &str| format!("{USER}{line}\n");
    f(
        &user("  url_map: [{src_paths: [/api/], url_prefix: http://a/}]"),
        "matches this path only, not what is below it",
    );
    f(&user("  url_prefix: http://a:84280000/"), "the port \"84280000\" of \"a\" is no number from 1 to 65535");
    f(&user(&format!("{ROUTE}  max_concurrent_requests: -1")), "means -maxConcurrentPerUserRequests, not a limit");
    f("", "every request is denied");
    f(&user(&format!("{ROUTE}unauthorized_user: {{}}")), "unauthorized_user has no backends, so it serves nobody");
    f(&format!("users:\n- username: u\n  password: ab #cd\n{ROUTE}"), "the value of password ends before ` #`");
    f(
        &user("  url_prefix: https://a/\n  tls_ca_file: /nowhere"),
        "the file \"/nowhere\" cannot be read; its backends answer 502 until it can (users[0].tls_ca_file, line 5, column 16)",
    );
}

#[test]
fn variables() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let config = format!(
        "users:\n- username: u\n  password: '%{{NOT_SET}}'\n{ROUTE}- bearer_token: ${{FOO}}\n{ROUTE}- username: v\n  password: '%{{EMPTY}}'\n{ROUTE}"
    );
    let texts = [
        "there is no environment variable NOT_SET: %{NOT_SET} stands as text; the text itself is the credential",
        "${FOO} is not replaced, it stands as text; the text itself is the credential",
        "the environment variable EMPTY is empty, and with it password",
    ];
    let (code, log) = dry_run(dir.path(), &config, &[], &[("EMPTY", "")]);
    assert!(code == Some(0) && texts.iter().all(|text| log.contains(text)), "{log}");
    let (code, log) = dry_run(dir.path(), &config, &["-auth.strictVariables"], &[("EMPTY", "")]);
    let strict = [
        "users[0].password (line 3, column 13): there is no",
        "users[1].bearer_token (line 5, column 17): ${FOO}",
        "users[2].password (line 8, column 13): the environment",
    ];
    let lines: Vec<_> = log.lines().filter(|line| line.contains("\tfatal\t")).collect();
    assert!(code == Some(255) && lines.len() == 3, "{log}");
    assert!(strict.iter().zip(lines).all(|(text, line)| line.contains(text)), "{log}");
    let (_, log) =
        dry_run(dir.path(), &format!("users:\n- username: %{{LINES}}\n{ROUTE}"), &[], &[("LINES", "a\nb: c")]);
    assert!(log.contains("the value of the variable LINES has characters that mean something in YAML"), "{log}");
    // A start says it, too.
    let proxy = Vmauth::start(&config, &[]);
    proxy.program.wait_log(0, texts[0]);
}

#[test]
fn each_problem_has_a_time_and_a_level() {
    let config = format!("{USER}  a: 1\n  b: 2\n  c: 3\n{ROUTE}");
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (_, log) = dry_run(dir.path(), &config, &[], &[]);
    let lines: Vec<_> = log.lines().filter(|line| line.contains("there is no field")).collect();
    assert!(lines.len() == 3 && lines.iter().all(|line| line.starts_with("20") && line.contains("\tfatal\t")), "{log}");
    let first = lines[0].split('\t').next_back().unwrap_or_default();
    assert!(
        first.starts_with("failed to parse -auth.config=\"auth.yml\": users[0].a "),
        "the prefix is short: {first}"
    );
    let (_, log) = dry_run(dir.path(), &config, &["-loggerFormat=json"], &[]);
    let records = log.lines().filter(|line| line.contains("there is no field"));
    assert_eq!(records.filter(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()).count(), 3, "{log}");
    let backend = Backend::saying("ok");
    let proxy = Vmauth::start(&one_user(&[&backend], ""), &[]);
    proxy.reload(&config, "users[0].c (line 6, column 3)");
    let lines = proxy.program.matching(0, "there is no field");
    assert!(lines.len() == 3 && lines.iter().all(|line| line.contains("\terror\t")), "{lines:#?}");
}

#[test]
fn flags() {
    let config = format!("{USER}{ROUTE}");
    let f = |flags: &[&str], code: i32, want: &str| check(&config, flags, code, &[want]);
    f(&["-maxConcurentRequests=3"], 2, "did you mean -maxConcurrentRequests?");
    f(&["-responseTimeout=30"], 2, "write numbers with units: 30s, 5m, 1h30m");
    f(&["-responseTimeout=5 minutes"], 2, "write numbers with units: 30s, 5m, 1h30m");
    f(&["-requestBufferSize=10XB"], 2, "write a number of bytes, or one with KB, MB");
    f(&["-tls", "true"], 1, "; write -tls=true");
    f(&["-workers=1", "-workers=2"], 0, "-workers is given more than once; the last one counts");
    f(
        &["-reloadAuthKey=file:///nowhere"],
        0,
        "-reloadAuthKey is not known, so nobody passes by it: open /nowhere: no such file",
    );
    f(
        &["-reloadAuthKey=a", "-httpAuth.password=b"],
        0,
        "-httpAuth.password, -reloadAuthKey: other users of this machine can read command lines; write the secret into a file and -httpAuth.password=file:///",
    );
    f(
        &["-tlsCertFile=x", "-tlsKeyFile=y"],
        0,
        "-tlsCertFile, -tlsKeyFile without -tls: all addresses are served as plain HTTP",
    );
    f(&["-httpListenAddr="], 0, "-httpListenAddr is empty: no requests of users are served");
    let dir = tempfile::tempdir().expect("a temporary folder");
    let flags = ["-envflag.enable", "-envflag.prefix=VMAUTH_"];
    let variables = [
        ("VMAUTH_maxConcurentRequests", "3"),
        ("VMAUTH_LOGGER_LEVEL", "ERROR"),
        ("VMAUTH_PORT_8427_TCP", "x"),
        ("VMAUTH_http_pathPrefix", "/a"),
    ];
    let (code, log) = dry_run(dir.path(), &config, &flags, &variables);
    assert!(
        code == Some(0)
            && log.contains("VMAUTH_maxConcurentRequests is no flag; did you mean VMAUTH_maxConcurrentRequests?"),
        "{log}"
    );
    assert!(log.contains("VMAUTH_LOGGER_LEVEL is no flag; did you mean VMAUTH_loggerLevel?"), "{log}");
    assert_eq!(log.matches("is no flag").count(), 2, "{log}");
}

#[test]
fn listeners_and_their_files() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| dir.path().join(name).display().to_string();
    let openssl = |words: &str| {
        let done = Command::new("openssl").args(words.split(' ')).current_dir(dir.path()).output().expect("openssl");
        assert!(done.status.success(), "{done:?}");
    };
    openssl("req -x509 -newkey rsa:2048 -nodes -keyout k.pem -out c.pem -days 2 -subj /CN=x");
    openssl("pkcs8 -topk8 -in k.pem -out enc.pem -passout pass:x");
    fs::write(path("auth.yml"), format!("{USER}{ROUTE}")).expect("the folder can be written");
    let f = |flags: &[String], want: &str| {
        let launch = Launch::new(binary()).arg(format!("-auth.config={}", path("auth.yml")));
        let mut program = flags.iter().fold(launch, |launch, flag| launch.arg(flag)).start();
        program.wait_log(0, want);
        assert_eq!(program.wait_exit(PATIENCE), Some(255));
    };
    f(&["-httpListenAddr=8427".to_owned()], "listening address \"8427\" is a port without a colon; write \":8427\"");
    let tls = |files: &[String]| [&["-httpListenAddr=127.0.0.1:0".to_owned(), "-tls".to_owned()], files].concat();
    f(&tls(&[]), "-tls needs -tlsCertFile and -tlsKeyFile, or -tlsAutocertHosts");
    let pair = |cert: &str, key: &str| [format!("-tlsCertFile={}", path(cert)), format!("-tlsKeyFile={}", path(key))];
    f(&tls(&pair("k.pem", "c.pem")), "PEM inputs may have been switched");
    f(&tls(&pair("c.pem", "enc.pem")), "the key is encrypted; decrypt it");
}
