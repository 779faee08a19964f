//! How the values of config.json are read: strings borrowed from the file, structs from objects
//! only.
//!
//! Pure: no system call.
#![forbid(unsafe_code)]

mod object;
mod text;

pub use object::ObjectOnly;
pub use text::Text;
