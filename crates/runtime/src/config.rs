//! Reading config.json and other JSON files of the caller's.

use std::path::Path;

use rt_plan::spec::Document;

use crate::error::Error;

/// Reads the file whole. What it holds is parsed from the document, which errors call by the file's
/// name.
pub fn read_document(path: &Path) -> Result<Document, Error> {
    let bytes = rt_sys::file::read(path).map_err(|errno| Error::Config { path: path.to_owned(), errno })?;
    Ok(Document::new(path, bytes))
}
