//! `cbom`: what `holdfast crypto` says about algorithms, for the documentation.

use crate::Outcome;
use crate::tidy::workspace;

#[path = "../../crates/holdfast/src/crypto/inventory.rs"]
pub mod inventory;

use inventory::Inventory;

/// Runs the verb.
pub fn run(arguments: &[String]) -> Outcome {
    let check = match arguments {
        [] => false,
        [only] if only == "--check" => true,
        _ => return Err("cbom takes --check and nothing else".into()),
    };
    let root = workspace();
    let read = |name: &str| std::fs::read_to_string(root.join(name));
    let inventory = Inventory::parse(&read("crypto-policy.toml")?, &read("Cargo.lock")?)?;
    let bom = inventory.to_cbom(env!("CARGO_PKG_VERSION"), &[]);
    let bom = format!("{}\n", serde_json::to_string_pretty(&bom)?);
    for (name, text) in [("docs/crypto.md", page(&inventory)), ("docs/cbom.json", bom)] {
        if !check {
            std::fs::write(root.join(name), text)?;
            println!("wrote {name}");
        } else if read(name).unwrap_or_default() != text {
            return Err(format!("{name} is not what `cargo xtask cbom` makes; run it").into());
        }
    }
    Ok(())
}

/// The page for people.
fn page(inventory: &Inventory) -> String {
    let mut page = String::from(
        "# Cryptography\n\nMade from [crypto-policy.toml](../crypto-policy.toml) by \
             `cargo xtask cbom`; do not edit. `holdfast crypto --dir DIR`\nadds the keys of an \
             installation with their ages; `--cbom` writes CycloneDX 1.6 as in [cbom.json](cbom.json).\n\n\
             | algorithm | key, bits | library | purpose | standard |\n|---|---|---|---|---|\n",
    );
    for one in &inventory.algorithms {
        page.push_str(&format!(
            "| {} | {} | {} {} | {} | {} |\n",
            one.name,
            if one.key_bits == 0 { "–".to_owned() } else { one.key_bits.to_string() },
            one.library,
            one.version,
            one.purpose,
            one.standard
        ));
    }
    page.push_str(
        "\nPackages with cryptography in `Cargo.lock`, and why they may be there:\n\n\
             | package | why |\n|---|---|\n",
    );
    for (name, why) in &inventory.packages {
        page.push_str(&format!("| `{name}` | {why} |\n"));
    }
    page
}
