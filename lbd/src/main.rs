//! `lbd`: parse, set up logging, run.

fn main() {}
