//! Starts the stack, watches it, breaks it as it is told, and ends it: the only file that knows all parts.
//!
//! ```text
//! tick ─► figures ─► table or lines, page        key, page, plan ─► fault ─► stack
//! ```
//!
//! Everything about the stack happens in one task of the control plane, one thing after another; the pages ask it by
//! message. A signal ends the task first, then the listeners.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};
use vmkit::http_server::OnlyRoutes;
use vmkit::service::{Fatal, Service};

use crate::console::{self, Switch};
use crate::embedded::Reserved;
use crate::fault::Fault;
use crate::figures::{Collector, Figures};
use crate::flags::Options;
use crate::folder::Folder;
use crate::guide::{self, Addresses};
use crate::keyboard::Keyboard;
use crate::output::Output;
use crate::stack::{Stack, StackOptions};
use crate::{provider, table};

/// How often figures are taken.
const TICK: Duration = Duration::from_secs(1);
/// How often until the first sample is there.
const FIRST_TICK: Duration = Duration::from_millis(250);
/// Between two lines when nothing happens.
const QUIET: Duration = Duration::from_secs(5);
/// How long the last words may take.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// What devstack was started with.
pub type Start = vmkit::service::Start<Options>;

/// Runs until a signal or `q`.
///
/// # Errors
/// What keeps it from starting.
pub async fn run(mut start: Start) -> Result<(), Fatal> {
    let console = take_console(&mut start)?;
    let mut service = Service::open(&start).await?;
    let folder = Folder::make(&std::env::temp_dir()).map_err(|error| format!("cannot make a folder: {error}"))?;
    let stack = Stack::start(stack_options(&start, folder.path(), console.address)?).await?;
    let output = Output::start().map_err(|error| format!("cannot write to standard output: {error}"))?;
    let (publish, figures) = watch::channel(Arc::<Figures>::default());
    let (sender, switches) = mpsc::channel(1);
    console::add(&mut service, stack.store.clone(), figures, sender);
    let cancel = service.cancel();
    let collector = Collector::new(service.client.clone());
    let running = service.listen(|_| OnlyRoutes)?;
    let watching = Watch {
        stack,
        collector,
        publish,
        switches,
        output: output.clone(),
        planned: plan(&start.options),
        events: Events { new: Vec::new(), last: String::new(), told: Instant::now() },
    };
    let watching = tokio::spawn(watching.run(cancel));
    let ended = running.run(async || drop(watching.await)).await;
    output.flush(LAST_WORDS);
    // The end of the process drops nothing.
    drop(folder);
    drop(console);
    ended
}

/// The address of the page, which the service opens later.
fn take_console(start: &mut Start) -> Result<Reserved, Fatal> {
    let [listener] = start.service.listeners.public.as_mut_slice() else {
        return Err("write one -httpListenAddr, such as 127.0.0.1:8400".to_owned());
    };
    let reserved = Reserved::take(&listener.addr, "httpListenAddr")?;
    listener.addr = reserved.address.to_string();
    Ok(reserved)
}

fn stack_options(start: &Start, dir: &Path, console: SocketAddr) -> Result<StackOptions, Fatal> {
    let options = &start.options;
    let [provider, proxy, agent, store] = options.addresses;
    let binary = std::env::current_exe().map_err(|error| format!("cannot find devstack itself: {error}"))?;
    Ok(StackOptions {
        binary,
        dir: dir.to_owned(),
        addresses: Addresses { console, provider, proxy, agent, store },
        setup: options.setup.clone(),
        faults: options.from_the_start(),
    })
}

/// What is switched when, soonest last.
fn plan(options: &Options) -> Vec<(Duration, Fault, bool)> {
    let mut planned = Vec::new();
    for own in &options.planned {
        if !own.begins.is_zero() {
            planned.push((own.begins, own.fault, true));
        }
        planned.extend(own.ends.map(|ends| (ends, own.fault, false)));
    }
    planned.sort_by_key(|(after, ..)| std::cmp::Reverse(*after));
    planned
}

/// What has happened and was not told yet, the last thing that was, and when something was told.
#[derive(Debug)]
struct Events {
    new: Vec<String>,
    last: String,
    told: Instant,
}

struct Watch {
    stack: Stack,
    collector: Collector,
    publish: watch::Sender<Arc<Figures>>,
    switches: mpsc::Receiver<Switch>,
    output: Output,
    planned: Vec<(Duration, Fault, bool)>,
    events: Events,
}

impl Watch {
    async fn run(mut self, cancel: tokio_util::sync::CancellationToken) {
        self.output.print(format!("{}\n", introduction(&self.stack)));
        let mut keyboard = Keyboard::take(&self.output);
        // Ends in the middle of whatever it does, so that a stop never waits.
        cancel.run_until_cancelled(self.watch(&mut keyboard)).await;
        drop(keyboard);
        self.output.print("ending\n");
        self.stack.stop().await;
    }

    async fn watch(&mut self, keyboard: &mut Option<Keyboard>) {
        let mut shows_commands = false;
        let mut ticks = tokio::time::interval(FIRST_TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_waiting = true;
        loop {
            let due = self.planned.last().map(|(after, ..)| Instant::from_std(self.stack.started + *after));
            tokio::select! {
                _ = ticks.tick() => {}
                key = next_key(keyboard) => match key {
                    'q' => end_process(),
                    'c' => shows_commands = !shows_commands,
                    key => self.pressed(key).await,
                },
                Some(switch) = self.switches.recv() => {
                    let on = switch.on.unwrap_or_else(|| !self.stack.is_active(switch.fault));
                    let done = self.set(switch.fault, on).await;
                    // Whoever asked may have gone.
                    let _ = switch.done.send(done);
                }
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    if let Some((_, fault, on)) = self.planned.pop() {
                        let _ = self.set(fault, on).await;
                    }
                }
            }
            let figures = Arc::new(self.collector.take(&mut self.stack).await);
            self.note(&figures);
            // Before anything is printed: whoever has read a line finds it on the page.
            self.publish.send_replace(figures.clone());
            if is_waiting && figures.first_sample.is_some() {
                is_waiting = false;
                ticks = tokio::time::interval(TICK);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                ticks.reset();
            }
            match keyboard {
                Some(keyboard) => self.draw(&figures, keyboard.rows(), shows_commands),
                None => self.tell(&figures),
            }
        }
    }

    async fn pressed(&mut self, key: char) {
        if let Some(fault) = Fault::ALL.into_iter().find(|fault| fault.key() == key) {
            let on = !self.stack.is_active(fault);
            let _ = self.set(fault, on).await;
        }
    }

    async fn set(&mut self, fault: Fault, on: bool) -> Result<(), String> {
        let done = self.stack.set(fault, on).await;
        let after = self.stack.started.elapsed().as_secs();
        self.events.new.push(match (&done, fault.is_momentary(), on) {
            (Err(error), ..) => format!("{after}s {} failed: {error}", fault.name()),
            (Ok(()), true, _) => format!("{after}s {}: {}", fault.name(), fault.shows()),
            (Ok(()), false, true) => format!("{after}s {} begins: {}", fault.name(), fault.shows()),
            (Ok(()), false, false) => format!("{after}s {} ends", fault.name()),
        });
        done
    }

    /// Notes what the figures tell beside themselves.
    fn note(&mut self, figures: &Figures) {
        let before = self.publish.borrow();
        if let (None, Some(seconds)) = (before.first_sample, figures.first_sample) {
            self.events.new.push(format!("the first sample was in the store after {seconds:.1}s"));
        }
        let programs = [
            (before.proxy.running, figures.proxy.running, Fault::ProxyDown, &self.stack.proxy),
            (before.agent.running, figures.agent.running, Fault::AgentDown, &self.stack.agent),
        ];
        for (was, is, fault, program) in programs {
            if was && !is && !self.stack.is_active(fault) {
                self.events.new.push(format!("a program has ended by itself, see {}", program.log().display()));
            }
        }
    }

    fn tell(&mut self, figures: &Figures) {
        let is_news = !self.events.new.is_empty();
        for event in self.events.new.drain(..) {
            self.output.print(format!("-- {event}\n"));
        }
        if is_news || self.events.told.elapsed() >= QUIET {
            self.events.told = Instant::now();
            self.output.print(format!("{}\n", table::line(figures)));
        }
    }

    fn draw(&mut self, figures: &Figures, rows: usize, shows_commands: bool) {
        if let Some(last) = self.events.new.drain(..).next_back() {
            self.events.last = last;
        }
        let console = self.stack.addresses.console;
        let mut head = format!(
            "devstack for {}s   page: http://{console}/   logs: {}\n",
            figures.uptime,
            self.stack.dir().display()
        );
        if shows_commands {
            head = format!("{head}\n{}\n", commands(&self.stack));
        }
        let foot = format!("  c commands   q end\n  {}", self.events.last);
        self.output.print(table::screen(figures, &head, &foot, rows));
    }
}

async fn next_key(keyboard: &mut Option<Keyboard>) -> char {
    match keyboard {
        Some(keyboard) => keyboard.next().await,
        None => std::future::pending().await,
    }
}

/// As Ctrl-C does it.
fn end_process() {
    // The process is there: it is this one.
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::INT);
}

fn introduction(stack: &Stack) -> String {
    let Addresses { console, provider: issuer, proxy, agent, store } = stack.addresses;
    let (realm, dir) = (provider::REALM, stack.dir().display());
    let lines = [
        "devstack: the guide on this machine, kept in memory, forgotten at the end".to_owned(),
        format!("  page      http://{console}/"),
        format!("  provider  http://{issuer}{realm}/.well-known/openid-configuration"),
        format!("  agent     http://{agent}/targets   {dir}/scrape.yaml, vmagent.log"),
        format!("  proxy     http://{proxy}/   {dir}/vm-auth.yaml, vmauth.log"),
        format!("  store     http://{store}/select/{}/prometheus/api/v1/query?query=vm_app_version", stack.tenant()),
        format!("  vmauth {}", stack.proxy.args().join(" ")),
        format!("  vmagent {}", stack.agent.args().join(" ")),
        "in another terminal:".to_owned(),
    ];
    format!("{}\n{}", lines.join("\n"), commands(stack))
}

fn commands(stack: &Stack) -> String {
    let commands = guide::commands(&stack.addresses, stack.secret(), stack.tenant());
    commands.iter().map(|command| format!("  {command}")).collect::<Vec<_>>().join("\n")
}
