//! `linkage`: the command line over every role.
fn main() {}
