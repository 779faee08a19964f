//! Everything that makes a short command start quickly, with its numbers. HERE

pub mod allocator;
