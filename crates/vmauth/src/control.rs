//! The control plane's part of a config: reads it, builds the next generation and swaps it in.
//!
//! All that can fail happens before the swap; until then, and after any failure, the serving generation is untouched.

mod follow_files;
mod history;
mod named_files;
pub mod reload;
mod view;

pub use follow_files::follow_files;
pub use history::{History, Load, Loaded};
pub use named_files::NamedFiles;
pub use reload::{Controller, LoadError};
pub use view::ConfigView;
