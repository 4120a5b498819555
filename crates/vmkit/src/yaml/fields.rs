//! The fields of an object as one table: name, type and meaning of each, and the value that a reader matches on.
//!
//! A program writes an enum for each kind of object and one row a variant. Readers match on the enum, so a field without
//! an arm does not compile, and a variant without a row is dead code. Documents and schemas are made from the same rows.

use super::decode::{Decoder, Elsewhere};
use super::place::Place;
use super::problems::Stage;
use super::tree::NodeId;
use std::borrow::Cow;

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueType {
    /// A text; numbers, booleans and dates count as their source text.
    Text,
    /// A whole number.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// A list of texts.
    Texts,
    /// A text or a list of texts.
    TextOrTexts,
    /// A text, or a list of texts and objects of the named type.
    TextOrItems(&'static str),
    /// A list of whole numbers.
    Integers,
    /// An object with free names and text values.
    TextMap,
    /// An object of the named type.
    Object(&'static str),
    /// A list of objects of the named type.
    Objects(&'static str),
}

/// One field of an object.
#[derive(Clone, Copy, Debug)]
pub struct FieldDef<F> {
    /// What readers match on.
    pub field: F,
    /// The name in the file.
    pub name: &'static str,
    /// What it holds.
    pub value: ValueType,
    /// What it is for, in one sentence.
    pub doc: &'static str,
}

impl<F> FieldDef<F> {
    /// One row of a table.
    pub const fn new(field: F, name: &'static str, value: ValueType, doc: &'static str) -> Self {
        Self { field, name, value, doc }
    }
}

/// All fields of one kind of object.
#[derive(Clone, Debug)]
pub struct Object<F: Copy + 'static> {
    /// The name of the type in messages.
    pub type_name: &'static str,
    /// The fields in the order of the documentation.
    pub fields: Cow<'static, [FieldDef<F>]>,
    /// Fields of other objects that are written here by mistake.
    pub elsewhere: &'static [Elsewhere],
}

impl<F: Copy + 'static> Object<F> {
    /// An object with these fields.
    pub const fn new(type_name: &'static str, fields: &'static [FieldDef<F>]) -> Self {
        Self { type_name, fields: Cow::Borrowed(fields), elsewhere: &[] }
    }

    /// An object with fields of its own and some that other objects have as well.
    pub fn with_shared<G: Copy>(
        type_name: &'static str,
        own: &'static [FieldDef<F>],
        shared: &'static [FieldDef<G>],
        wrap: fn(G) -> F,
    ) -> Self {
        let shared = shared.iter().map(|def| FieldDef::new(wrap(def.field), def.name, def.value, def.doc));
        Self { type_name, fields: own.iter().copied().chain(shared).collect(), elsewhere: &[] }
    }

    /// The object with more fields that other objects have as well.
    #[must_use]
    pub fn and<G: Copy>(mut self, shared: &'static [FieldDef<G>], wrap: fn(G) -> F) -> Self {
        let shared = shared.iter().map(|def| FieldDef::new(wrap(def.field), def.name, def.value, def.doc));
        self.fields.to_mut().extend(shared);
        self
    }

    /// Says where fields belong that do not belong here.
    #[must_use]
    pub const fn elsewhere(mut self, elsewhere: &'static [Elsewhere]) -> Self {
        self.elsewhere = elsewhere;
        self
    }
}

/// A known field of an object in the file, and its value.
#[derive(Clone, Copy, Debug)]
pub struct Member<F> {
    /// Which one.
    pub field: F,
    /// Its name.
    pub name: &'static str,
    /// Its value.
    pub value: NodeId,
}

impl<S: Stage> Decoder<'_, '_, S> {
    /// Reads an object, merge keys resolved; reports unknown and repeated fields.
    pub fn members<F: Copy>(&mut self, id: NodeId, place: &Place<'_>, object: &Object<F>) -> Option<Vec<Member<F>>> {
        let names: Vec<_> = object.fields.iter().map(|def| def.name).collect();
        let fields = self.fields_here(id, place, object.type_name, &names, object.elsewhere)?;
        let known = |name| object.fields.iter().find(|def| def.name == name);
        let members = fields.into_iter();
        Some(members.filter_map(|(name, value)| Some(Member { field: known(name)?.field, name, value })).collect())
    }
}
