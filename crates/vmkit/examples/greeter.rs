//! A whole service in a page: a greeting from a config that reloads, `/metrics`, `/flags`, `/-/reload` and all that
//! every program of the family has. Try `cargo run -p vmkit --example greeter -- -greeting=file.txt`.

use std::sync::Arc;

use arc_swap::ArcSwap;
use vmkit::config_source::ConfigSource;
use vmkit::flags::{AppInfo, FlagDef, FlagSet, Kind};
use vmkit::http_server::{AppRoute, OnlyRoutes, Reply};
use vmkit::service::{Fatal, Reloader, Service, Start, Trigger};

const FLAGS: &[FlagDef] = &[FlagDef::new("greeting", Kind::Text, "", "Path or http(s) URL of the greeting")];

/// What the flags of this program say.
struct Options {
    greeting: String,
}

fn options(flags: &FlagSet) -> Result<Options, Vec<String>> {
    match flags.text("greeting") {
        "" => Err(vec!["missing required -greeting".to_owned()]),
        path => Ok(Options { greeting: path.to_owned() }),
    }
}

struct Greeting {
    source: ConfigSource,
    current: Arc<ArcSwap<String>>,
}

impl Reloader for Greeting {
    async fn reload(&mut self, trigger: Trigger) -> Result<(), String> {
        let mut looks = trigger.looks();
        let bytes = loop {
            if let Some(found) = looks.settled(self.source.read().await, false).await {
                break found?;
            }
        };
        let text = String::from_utf8(bytes).map_err(|_| "the greeting is not UTF-8".to_owned())?;
        self.current.store(Arc::new(text));
        Ok(())
    }
}

async fn run(start: Start<Options>) -> Result<(), Fatal> {
    let mut service = Service::open(&start).await?;
    let source = ConfigSource::new(&start.options.greeting, &service.client);
    let mut greeting = Greeting { source, current: Arc::default() };
    greeting.reload(Trigger::Demand).await?;
    let current = greeting.current.clone();
    let greet = AppRoute::new("/greet", move |request| {
        let greeting = current.load_full();
        Box::pin(async move {
            match request.read_body(1024).await {
                Ok(name) => Reply::text(200, [greeting.as_bytes(), b", ", &name].concat()),
                Err(error) => Reply::error(error.status(), &error.to_string()),
            }
        })
    });
    let greetings = service.registry.common().counter("greeter_greetings_total");
    service.route(greet.public().counted(greetings));
    service.reload_with(None, "loading -greeting".to_owned(), greeting);
    service.listen(|_| OnlyRoutes)?.run(async || ()).await
}

fn main() {
    let app = AppInfo {
        name: "greeter",
        banner: "greeter greets.",
        version: vmkit::process::build_info::version("greeter"),
        defaults: &[("httpListenAddr", ":8400")],
    };
    vmkit::service::main(app, &[FLAGS], options, run)
}
