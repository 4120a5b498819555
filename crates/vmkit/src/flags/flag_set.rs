//! All flags of a running binary with their values.
//!
//! Built once at the start by [`FlagSet::parse`]; from then on only read. Getters are for the code that turns flags
//! into typed options: an unknown name or a getter of the wrong kind is a mistake in the program and panics with
//! `BUG:`, so a test that reads every option once finds it.

use std::collections::HashMap;

use super::definition::{FlagDef, Notice, Support};
use super::password::Password;
use super::value::Value;
use crate::units::{ByteSize, GoDuration};

/// Values of all flags of a program.
pub struct FlagSet {
    defs: Vec<FlagDef>,
    values: Vec<Value>,
    set: Vec<bool>,
    /// Given more than once, although one value counts.
    repeated: Vec<bool>,
    pub(super) notices: Vec<Notice>,
    by_name: HashMap<&'static str, usize>,
}

impl FlagSet {
    /// All flags of a table at their defaults.
    pub fn defaults(defs: Vec<FlagDef>) -> Self {
        let names = |(index, def): (usize, &FlagDef)| {
            let (name, aliases) = (def.name, def.aliases);
            std::iter::once(name).chain(aliases.iter().copied()).map(move |name| (name, index))
        };
        Self {
            values: defs.iter().map(Value::default_of).collect(),
            set: vec![false; defs.len()],
            repeated: vec![false; defs.len()],
            notices: Vec::new(),
            by_name: defs.iter().enumerate().flat_map(names).collect(),
            defs,
        }
    }

    /// The values of all password flags that are read from a file or URL.
    pub fn passwords_from_outside(&self) -> Vec<Password> {
        let outside = |value: &Value| match value {
            Value::Password(password) if password.is_from_outside() => Some(password.clone()),
            _ => None,
        };
        self.values.iter().filter_map(outside).collect()
    }

    /// Messages of flags that are set to something although the product refuses them.
    pub fn refusals(&self) -> Vec<String> {
        let refusal = |(index, def): (usize, &FlagDef)| match def.support {
            Support::Refused(message) if self.set[index] && !self.is_idle(def.name) => {
                Some(format!("-{}: {message}", def.name))
            }
            _ => None,
        };
        self.defs.iter().enumerate().filter_map(refusal).collect()
    }

    /// Whether the value says nothing: it is the default, empty, or `false`, `0` or `0s` in each of its items.
    pub fn is_idle(&self, name: &str) -> bool {
        let index = self.known(name);
        let value = self.values[index].render();
        let nothing = |item: &str| matches!(item.trim_matches('"'), "" | "false" | "0" | "0s");
        value.split(',').all(nothing)
            || self.defs.get(index).is_some_and(|def| value == Value::default_of(def).render())
    }

    /// What is odd about how flags were given; a few sentences.
    pub fn notices(&self) -> &[Notice] {
        &self.notices
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

    /// Items of a flag of kind [`super::Kind::TextList`], [`super::Kind::DurationList`] or [`super::Kind::BytesList`].
    pub fn texts(&self, name: &str) -> &[String] {
        match self.value(name) {
            Value::Texts(values) | Value::Checked(values, _) => values,
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

    pub(super) fn defs(&self) -> &[FlagDef] {
        &self.defs
    }

    pub(super) fn index_of(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    pub(super) fn value_at(&self, index: usize) -> &Value {
        &self.values[index]
    }

    pub(super) fn is_set_at(&self, index: usize) -> bool {
        self.set[index]
    }

    pub(super) fn is_repeated_at(&self, index: usize) -> bool {
        self.repeated[index]
    }

    pub(super) fn set(&mut self, index: usize, text: &str) -> Result<(), String> {
        self.repeated[index] |= self.set[index] && !self.values[index].is_list();
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
