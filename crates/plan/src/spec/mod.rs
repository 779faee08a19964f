//! config.json: the document, its types, and what is wrong in it. What the values must be is
//! checked while they are lowered.

mod document;
mod error;
mod keys;
mod model;
mod null;
mod order;

pub use document::Document;
pub use error::{Fault, Pointer, Problem, SpecError};
pub use keys::unknown_keys;
pub use model::*;
pub use order::sort as sort_problems;
pub use rt_json::Text;
pub use rt_resources::check::escape;
