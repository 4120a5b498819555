//! All flags of a running binary with their values.
//!
//! Built once at the start by [`FlagSet::parse`]; from then on only read. Getters are for the code that turns flags
//! into typed options: an unknown name or a getter of the wrong kind is a mistake in the program and panics with
//! `BUG:`, so a test that reads every option once finds it.

use std::collections::HashMap;
use std::ffi::OsString;

use super::command_line::CommandLine;
use super::value::Value;
use super::{AppInfo, FetchSecret, FlagDef, FlagExit, Password, Support, environment};
use crate::env_template::Environment;
use crate::units::{ByteSize, GoDuration};

/// Values of a table of flags.
pub struct FlagSet {
    defs: &'static [FlagDef],
    values: Vec<Value>,
    set: Vec<bool>,
    by_name: HashMap<&'static str, usize>,
}

impl FlagSet {
    /// All flags of a table at their defaults.
    pub fn defaults(defs: &'static [FlagDef]) -> Self {
        let names = |(index, def): (usize, &'static FlagDef)| {
            std::iter::once(def.name).chain(def.aliases.iter().copied()).map(move |name| (name, index))
        };
        Self {
            defs,
            values: defs.iter().map(Value::default_of).collect(),
            set: vec![false; defs.len()],
            by_name: defs.iter().enumerate().flat_map(names).collect(),
        }
    }

    /// Reads a command line, the first item being the name of the program, then the environment.
    ///
    /// # Errors
    /// `-help`, `-version` and every wrong command line: the texts and the code the process must end with.
    pub fn parse(
        defs: &'static [FlagDef],
        app: &AppInfo,
        args: impl IntoIterator<Item = impl Into<OsString>>,
        environment: &Environment,
    ) -> Result<Self, FlagExit> {
        let mut flags = Self::defaults(defs);
        let mut args = args.into_iter().map(|arg| environment.expand(&arg.into().to_string_lossy()));
        let program = args.next().unwrap_or_else(|| app.name.to_string());
        let words = args.filter(|word| !word.is_empty()).collect();
        CommandLine { program, words }.apply(&mut flags, app)?;
        environment::apply(&mut flags, environment)?;
        if flags.index_of("version").is_some() && flags.bool("version") {
            return Err(FlagExit { code: 0, stdout: format!("{}\n", app.version), stderr: String::new() });
        }
        Ok(flags)
    }

    /// Gives password flags the means to read `http(s)://` values. Without it, such values never match.
    pub fn provide_fetcher(&self, fetch: &FetchSecret) {
        for value in &self.values {
            if let Value::Password(password) = value {
                password.provide_fetcher(fetch.clone());
            }
        }
    }

    /// Messages of flags that are set although the product refuses them.
    pub fn refusals(&self) -> Vec<String> {
        let refusal = |(index, def): (usize, &FlagDef)| match def.support {
            Support::Refused(message) if self.set[index] => Some(format!("-{}: {message}", def.name)),
            _ => None,
        };
        self.defs.iter().enumerate().filter_map(refusal).collect()
    }

    /// Whether the command line or the environment gave the flag.
    pub fn is_set(&self, name: &str) -> bool {
        self.set[self.known(name)]
    }

    /// Value of a flag of kind [`super::Kind::Bool`].
    pub fn bool(&self, name: &str) -> bool {
        match self.value(name) {
            Value::Bool(value) => *value,
            _ => wrong_kind(name),
        }
    }

    /// Value of a flag of kind [`super::Kind::Int`].
    pub fn int(&self, name: &str) -> i64 {
        match self.value(name) {
            Value::Int(value) => *value,
            _ => wrong_kind(name),
        }
    }

    /// Value of a flag of kind [`super::Kind::Float`].
    pub fn float(&self, name: &str) -> f64 {
        match self.value(name) {
            Value::Float(value) => *value,
            _ => wrong_kind(name),
        }
    }

    /// Value of a flag of kind [`super::Kind::Text`].
    pub fn text(&self, name: &str) -> &str {
        match self.value(name) {
            Value::Text(value) => value,
            _ => wrong_kind(name),
        }
    }

    /// Value of a flag of kind [`super::Kind::Duration`].
    pub fn duration(&self, name: &str) -> GoDuration {
        match self.value(name) {
            Value::Duration(value) => *value,
            _ => wrong_kind(name),
        }
    }

    /// Value of a flag of kind [`super::Kind::Bytes`].
    pub fn bytes(&self, name: &str) -> &ByteSize {
        match self.value(name) {
            Value::Bytes(value) => value,
            _ => wrong_kind(name),
        }
    }

    /// Value of a flag of kind [`super::Kind::Password`].
    pub fn password(&self, name: &str) -> Password {
        match self.value(name) {
            Value::Password(value) => value.clone(),
            _ => wrong_kind(name),
        }
    }

    /// Items of a flag of kind [`super::Kind::TextList`].
    pub fn texts(&self, name: &str) -> &[String] {
        match self.value(name) {
            Value::Texts(values) => values,
            _ => wrong_kind(name),
        }
    }

    /// Items of a flag of kind [`super::Kind::IntList`].
    pub fn ints(&self, name: &str) -> &[i64] {
        match self.value(name) {
            Value::Ints(values) => values,
            _ => wrong_kind(name),
        }
    }

    /// Items of a flag of kind [`super::Kind::BoolList`].
    pub fn bools(&self, name: &str) -> &[bool] {
        match self.value(name) {
            Value::Bools(values) => values,
            _ => wrong_kind(name),
        }
    }

    /// Item for the listener at `index`: a single item serves all listeners, a missing one is empty.
    pub fn text_at(&self, name: &str, index: usize) -> &str {
        item_at(self.texts(name), index).map_or("", String::as_str)
    }

    /// Item for the listener at `index`: a single item serves all listeners, a missing one is `false`.
    pub fn bool_at(&self, name: &str, index: usize) -> bool {
        item_at(self.bools(name), index).copied().unwrap_or(false)
    }

    pub(crate) fn defs(&self) -> &'static [FlagDef] {
        self.defs
    }

    pub(crate) fn index_of(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    pub(crate) fn value_at(&self, index: usize) -> &Value {
        &self.values[index]
    }

    pub(crate) fn is_set_at(&self, index: usize) -> bool {
        self.set[index]
    }

    pub(crate) fn set(&mut self, index: usize, text: &str) -> Result<(), String> {
        self.values[index].set(text, !self.set[index])?;
        self.set[index] = true;
        Ok(())
    }

    fn value(&self, name: &str) -> &Value {
        &self.values[self.known(name)]
    }

    fn known(&self, name: &str) -> usize {
        self.index_of(name).unwrap_or_else(|| panic!("BUG: there is no flag -{name}"))
    }
}

fn wrong_kind(name: &str) -> ! {
    panic!("BUG: the flag -{name} is read as another kind")
}

fn item_at<T>(items: &[T], index: usize) -> Option<&T> {
    match items {
        [only] => Some(only),
        items => items.get(index),
    }
}

impl std::fmt::Debug for FlagSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.all().into_iter().map(|line| (line.name, line.value))).finish()
    }
}
