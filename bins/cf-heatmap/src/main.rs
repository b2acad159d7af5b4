//! `cf-heatmap`: where a model looks.
fn main() {}
