//! The checks of the auth config, in their order, and the literal prefixes that users search their logs for.

use vmkit::yaml;

/// Which check found a problem; decides its prefix and its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The text is no YAML.
    Syntax,
    /// A value has the wrong type or a field is unknown.
    Types,
    /// A value cannot be parsed: URL, regex, header, address.
    Values,
    /// `unauthorized_user`, and what concerns the whole file.
    UnauthorizedUser,
    /// Users with `jwt`.
    JwtUsers,
    /// All other users.
    Users,
}

impl yaml::Stage for Stage {
    const SYNTAX: Self = Self::Syntax;
    const TYPES: Self = Self::Types;
    const PLACE_FIRST: bool = true;

    fn prefix(self) -> &'static str {
        match self {
            Self::Syntax | Self::Values => "failed to parse auth config: cannot unmarshal AuthConfig data: ",
            Self::Types => "  ",
            Self::UnauthorizedUser => "failed to parse auth config: ",
            Self::JwtUsers => "failed to parse JWT users from auth config: ",
            Self::Users => "failed to parse users from auth config: ",
        }
    }

    fn heading(self) -> Option<&'static str> {
        (self == Self::Types)
            .then_some("failed to parse auth config: cannot unmarshal AuthConfig data: yaml: unmarshal errors:")
    }

    fn is_by_line(self) -> bool {
        self <= Self::Values
    }
}

/// One problem of the auth config.
pub type ConfigError = yaml::Problem<Stage>;
/// All problems of an auth config.
pub type ConfigErrors = yaml::ProblemList<Stage>;
pub(super) type Problems = yaml::Problems<Stage>;
pub(super) type Decoder<'t, 'p> = yaml::Decoder<'t, 'p, Stage>;
