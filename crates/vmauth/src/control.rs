//! The control plane's part of a config: reads it, builds the next generation and swaps it in.
//!
//! All that can fail happens before the swap; until then, and after any failure, the serving generation is untouched.

mod history;
pub mod reload;
mod view;

pub use history::{History, Load, Loaded};
pub use reload::{Controller, LoadError};
pub use view::ConfigView;
