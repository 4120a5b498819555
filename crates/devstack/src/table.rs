//! Figures as text: a table that a terminal redraws, or a line for a file or a pipe.
//!
//! A line holds all that the table shows and nothing that only a terminal understands; a screen always fits its terminal.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::fault::Fault;
use crate::figures::{Figures, StoreState};

const BOLD: &str = "\x1b[1m";
const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const DIM: &str = "\x1b[2m";
const END: &str = "\x1b[0m";
/// To the upper left corner, and clear what follows.
const HOME: &str = "\x1b[H\x1b[J";

/// One line with all that matters.
pub fn line(figures: &Figures) -> String {
    let mut line = format!(
        "{:>4}s provider={} key={} token_age={} agent={} pending={} proxy={} store={}",
        figures.uptime,
        figures.provider.state,
        short(&figures.provider.key_id),
        age(figures.provider.token_age),
        up(figures.agent.running),
        bytes(figures.agent.pending_bytes),
        up(figures.proxy.running),
        up(figures.store.up),
    );
    for tenant in &figures.store.tenants {
        let _ = write!(
            line,
            " tenant={} series={} samples/s={:.0} last_write={}",
            tenant.tenant,
            tenant.series,
            tenant.samples_per_second,
            age(tenant.last_write)
        );
    }
    let refusals = counts(&figures.proxy.refusals);
    if !refusals.is_empty() {
        let _ = write!(line, " refused: {refusals}");
    }
    if !figures.faults.is_empty() {
        let _ = write!(line, " faults: {}", figures.faults.join(","));
    }
    line
}

/// A whole screen of so many rows; `head` stands above the figures, `foot` below.
pub fn screen(figures: &Figures, head: &str, foot: &str, rows: usize) -> String {
    let mut text = String::new();
    parts(&mut text, figures);
    tenants(&mut text, &figures.store);
    let used = |keys: &str| [head, &text, keys, foot].iter().map(|part| part.lines().count()).sum::<usize>() + 2;
    let mut keys = long_keys(figures);
    if used(&keys) > rows {
        keys = short_keys(figures);
    }
    let whole = format!("{head}\n{text}\n{keys}{foot}\n");
    // What does not fit would scroll, and the next screen would not cover it.
    let lines: Vec<_> = whole.lines().take(rows.saturating_sub(1)).collect();
    format!("{HOME}{}\r\n", lines.join("\r\n"))
}

fn parts(text: &mut String, figures: &Figures) {
    let state = |good: bool, text: &str| format!("{}{text:<6}{END}", if good { GREEN } else { RED });
    let Figures { provider, agent, proxy, store, .. } = figures;
    let _ = writeln!(
        text,
        "  provider  {} key {} ({} published), token of {}s is {} old, {} given, {} refused",
        state(provider.state == "up", provider.state),
        short(&provider.key_id),
        provider.keys,
        provider.token_lifetime,
        age(provider.token_age),
        provider.tokens,
        provider.refused
    );
    let _ = writeln!(
        text,
        "  agent     {} {} waiting, {} retries, {} dropped; pushes: {}",
        state(agent.running, up(agent.running)),
        bytes(agent.pending_bytes),
        agent.retries,
        agent.dropped,
        counts(&agent.pushes)
    );
    let refusals = counts(&proxy.refusals);
    let _ = writeln!(
        text,
        "  proxy     {} {} requests; refused: {}",
        state(proxy.running, up(proxy.running)),
        proxy.requests,
        if refusals.is_empty() { "nothing" } else { &refusals }
    );
    let refused = store.refused_series;
    let _ = writeln!(
        text,
        "  store     {} in memory only; series without room: {refused}\n",
        state(store.up, up(store.up))
    );
}

fn tenants(text: &mut String, store: &StoreState) {
    let heads = ["tenant", "series", "samples", "samples/s", "last write"];
    let [tenant, series, samples, rate, last] = heads;
    let _ = writeln!(text, "  {BOLD}{tenant:<12}{series:>8}{samples:>12}{rate:>12}{last:>12}{END}");
    for own in &store.tenants {
        let (rate, last) = (own.samples_per_second, age(own.last_write));
        let _ = writeln!(text, "  {:<12}{:>8}{:>12}{rate:>12.0}{last:>12}", own.tenant, own.series, own.samples);
    }
    if store.tenants.is_empty() {
        let _ = writeln!(text, "  {DIM}no samples yet{END}");
    }
}

fn long_keys(figures: &Figures) -> String {
    let mut text = String::new();
    for fault in Fault::ALL {
        let is_on = figures.faults.contains(&fault.name());
        let (colour, mark) = if is_on { (RED, "on") } else { ("", "") };
        let (key, name, shows) = (fault.key(), fault.name(), fault.shows());
        let _ = writeln!(text, "  {BOLD}{key}{END}  {colour}{name:<15}{mark:<3}{END}{DIM}{shows}{END}");
    }
    text
}

fn short_keys(figures: &Figures) -> String {
    let of = |fault: &Fault| {
        let colour = if figures.faults.contains(&fault.name()) { RED } else { "" };
        format!("{BOLD}{}{END} {colour}{:<15}{END}", fault.key(), fault.name())
    };
    let row = |faults: &[Fault]| format!("  {}\n", faults.iter().map(of).collect::<String>());
    Fault::ALL.chunks(4).map(row).collect()
}

fn up(up: bool) -> &'static str {
    if up { "up" } else { "down" }
}

/// The part of an id that tells keys apart.
fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

fn age(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.1}s"))
}

fn bytes(count: f64) -> String {
    match count {
        count if count < 1024.0 => format!("{count}B"),
        count if count < 1024.0 * 1024.0 => format!("{:.1}KiB", count / 1024.0),
        count => format!("{:.1}MiB", count / 1024.0 / 1024.0),
    }
}

fn counts(counts: &BTreeMap<String, f64>) -> String {
    counts.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::{AgentState, ProviderState, ProxyState, TenantState};

    fn figures() -> Figures {
        Figures {
            uptime: 12,
            first_sample: Some(1.5),
            provider: ProviderState {
                state: "down",
                key_id: "abcdefghijkl".to_owned(),
                keys: 2,
                tokens: 3,
                refused: 1,
                token_age: Some(4.25),
                token_lifetime: 20,
            },
            agent: AgentState { running: true, pending_bytes: 2048.0, ..AgentState::default() },
            proxy: ProxyState { running: true, requests: 9.0, refusals: [("expired".to_owned(), 2.0)].into() },
            store: StoreState {
                up: true,
                refused_series: 0,
                tenants: vec![TenantState {
                    tenant: "0:0".to_owned(),
                    series: 400,
                    samples: 4000,
                    samples_per_second: 399.6,
                    last_write: None,
                }],
            },
            faults: vec!["provider-down"],
        }
    }

    #[test]
    fn a_line_has_everything_and_nothing_for_a_terminal() {
        let line = line(&figures());
        assert_eq!(
            line,
            "  12s provider=down key=abcdefgh token_age=4.2s agent=up pending=2.0KiB proxy=up store=up tenant=0:0 \
             series=400 samples/s=400 last_write=- refused: expired 2 faults: provider-down"
        );
    }

    #[test]
    fn a_screen_names_all_keys_marks_what_is_on_and_fits() {
        let all = screen(&figures(), "head", "foot", 60);
        assert!(all.starts_with("\x1b[H\x1b[Jhead\r\n") && all.ends_with("foot\r\n"), "{all:?}");
        assert!(!all.replace("\r\n", "").contains('\n'));
        for fault in Fault::ALL {
            let mark = if fault == Fault::ProviderDown { "on" } else { "  " };
            assert!(all.contains(&format!("{:<15}{mark}", fault.name())), "{fault:?}: {all}");
        }
        for rows in [24, 10] {
            let small = screen(&figures(), "head", "foot", rows);
            assert!(small.lines().count() < rows, "{small}");
            assert_eq!(rows == 24, Fault::ALL.iter().all(|fault| small.contains(fault.name())), "{small}");
        }
    }
}
