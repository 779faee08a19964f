//! `rt --version`: three lines that go-runc and Docker parse (docs/contracts.md, part 2).

/// What follows the program's name.
pub const TEXT: &str = concat!("version ", env!("CARGO_PKG_VERSION"), "\ncommit: ", env!("RT_COMMIT"), "\nspec: 1.3.0");
