//! Trains the embedded weights without labels and prints them as TOML:
//! `cargo run -p holdfast-mpi --example train > crates/mpi/data/weights.toml`.

#[path = "../tests/support/mod.rs"]
mod support;

use holdfast_mpi::{Weights, pattern, train};

fn main() {
    let start = Weights::from_toml(include_str!("../data/start.toml")).expect("a start");
    let Some(rows) = support::us_dev() else { std::process::exit(1) };
    let pairs = support::candidate_pairs(&rows);
    let patterns = pairs.iter().map(|(a, b)| pattern(&rows[*a].features, &rows[*b].features));
    let (weights, report) = train(&start, patterns);
    eprintln!("{report:?}");
    println!("# Made by `cargo run -p holdfast-mpi --example train`; do not edit.");
    println!("# {} candidate pairs, no labels, from data/start.toml.", report.pairs_count);
    println!("prior = {:.6}", weights.prior);
    println!("link_probability = {}", weights.link_probability);
    println!("review_probability = {}", weights.review_probability);
    for field in &weights.fields {
        println!("\n[[fields]]\nfield = \"{}\"\nlevels = [", field.field);
        for l in &field.levels {
            let (same, other) = (l.same, l.other);
            println!(
                "  {{ level = \"{}\", same = {same:.8}, other = {other:.8} }}, # {:+.2} bits",
                l.level,
                l.bits()
            );
        }
        println!("]");
    }
}
