//! Rows of flag tables, and how tables of several groups become one.

/// What a value may look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `-name` or `-name=value`; never takes the next word.
    Bool,
    /// Decimal, `0x`, `0o`, `0b` or leading-zero octal.
    Int,
    /// A float literal.
    Float,
    /// Any text.
    Text,
    /// Numbers with units `ns us µs ms s m h`.
    Duration,
    /// Number with an optional unit such as `KB` or `KiB`.
    Bytes,
    /// Literal, `file://path` or `http(s)://url`.
    Password,
    /// Comma list or repetition of texts.
    TextList,
    /// Comma list or repetition of durations, kept as texts; an empty item is one, for a default that its reader knows.
    DurationList,
    /// Comma list or repetition of sizes, likewise.
    BytesList,
    /// Comma list or repetition of decimal integers; an empty item is 0.
    IntList,
    /// Comma list or repetition of booleans; an empty item is `false`.
    BoolList,
}

/// What the product does with a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// Has its effect.
    Works,
    /// Accepted without effect, for the reason given.
    Ignored(&'static str),
    /// Parses, but the application refuses to start when it is set, with this message.
    Refused(&'static str),
}

/// One row of a flag table.
#[derive(Clone, Copy, Debug)]
pub struct FlagDef {
    /// Name without dash.
    pub name: &'static str,
    /// Other spellings that mean the same flag; not listed anywhere.
    pub aliases: &'static [&'static str],
    /// Grammar of the value.
    pub kind: Kind,
    /// Value when the flag is not set, in the grammar of a command line; empty = false, 0, no item.
    /// When `computed` is there, this is only a description of how the default comes about.
    pub default: &'static str,
    /// Default that depends on the machine.
    pub computed: Option<fn() -> String>,
    /// What the flag does, for `-help` and the documentation; `{app}` stands for the name of the program.
    pub help: &'static str,
    /// Whether it has its effect.
    pub support: Support,
    /// Masked although the name does not tell that the value is a secret.
    pub secret: bool,
    /// A boolean flag that lifts the mask of `secret`.
    pub shown_by: Option<&'static str>,
}

impl FlagDef {
    /// A working flag.
    pub const fn new(name: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Self {
        let (aliases, computed, support) = (&[], None, Support::Works);
        Self { name, aliases, kind, default, computed, help, support, secret: false, shown_by: None }
    }

    /// Other spellings of the name.
    #[must_use]
    pub const fn aliases(self, aliases: &'static [&'static str]) -> Self {
        Self { aliases, ..self }
    }

    /// A default that depends on the machine; `default` then describes it.
    #[must_use]
    pub const fn computed(self, computed: fn() -> String) -> Self {
        Self { computed: Some(computed), ..self }
    }

    /// Accepted without effect.
    #[must_use]
    pub const fn ignored(self, reason: &'static str) -> Self {
        Self { support: Support::Ignored(reason), ..self }
    }

    /// Known, but the application does not start with it.
    #[must_use]
    pub const fn refused(self, message: &'static str) -> Self {
        Self { support: Support::Refused(message), ..self }
    }

    /// Value is never shown.
    #[must_use]
    pub const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }

    /// Value is shown only where the boolean flag of that name is set.
    #[must_use]
    pub const fn shown_by(self, flag: &'static str) -> Self {
        Self { secret: true, shown_by: Some(flag), ..self }
    }

    /// Text of the default in the grammar of a command line.
    pub(super) fn default_text(&self) -> String {
        self.computed.map_or_else(|| self.default.to_string(), |computed| computed())
    }
}

/// Something to say about how flags were given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// One sentence.
    pub text: String,
    /// Whether it is most likely a mistake; otherwise advice.
    pub is_mistake: bool,
}

/// What a program says about itself and its flags.
#[derive(Clone, Debug)]
pub struct AppInfo {
    /// Name of the binary, such as `vmauth`.
    pub name: &'static str,
    /// Two sentences in front of the flags: what it is and where its documentation is.
    pub banner: &'static str,
    /// Output of `-version`.
    pub version: String,
    /// Defaults of its own for flags of the groups it shares with other programs: names and texts.
    pub defaults: &'static [(&'static str, &'static str)],
}

impl AppInfo {
    /// One table of several, sorted by name. Of rows with the same name the last one counts; then come the program's
    /// own defaults.
    pub fn table(&self, groups: &[&[FlagDef]]) -> Vec<FlagDef> {
        let mut rows: Vec<FlagDef> = groups.iter().flat_map(|group| group.iter().copied()).collect();
        // The sort is stable, so the last of equal names stays the last.
        rows.sort_by_key(|row| row.name);
        let mut table: Vec<FlagDef> = Vec::with_capacity(rows.len());
        for mut row in rows {
            if let Some((_, default)) = self.defaults.iter().find(|(name, _)| *name == row.name) {
                (row.default, row.computed) = (default, None);
            }
            match table.last_mut() {
                Some(last) if last.name == row.name => *last = row,
                _ => table.push(row),
            }
        }
        table
    }
}
