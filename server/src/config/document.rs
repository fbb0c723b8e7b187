//! The page about all keys, `docs/configuration.md`: its tables come from the keys.

use std::fmt::Write;
use std::path::PathBuf;

use super::key::{Initial, Key};
use super::{SECTIONS, layers};

/// What stands before the tables.
const BEGIN: &str = "<!-- keys: written by the tests of server/src/config -->\n";
/// What stands after them.
const END: &str = "<!-- end of keys -->\n";

fn path() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md"))
}

fn tables() -> String {
    let mut text = String::new();
    for section in SECTIONS {
        let about: Vec<_> = section.about.iter().map(|line| line.trim()).collect();
        writeln!(text, "\n### `[{}]`\n\n{}\n", section.name, about.join("\n")).unwrap();
        text += "| key | flag | default | meaning |\n|---|---|---|---|\n";
        section.keys.iter().for_each(|key| text += &row(key));
    }
    text + "\n"
}

fn row(key: &Key) -> String {
    let flag = match key.flag {
        Some(flag) => match flag.value {
            Some(value) => format!("`--{} {}`", flag.name, value.trim_end_matches("...")),
            None => format!("`--{}`", flag.name),
        },
        None => String::new(),
    };
    let default = match key.initial {
        Initial::Value(text) => format!("`{}`", layers::literal(text)),
        Initial::Unset(text) => format!("none; such as `{}`", layers::literal(text)),
    };
    format!("| `{}` | {flag} | {default} | {} |\n", key.name, key.meaning().replace('|', "\\|"))
}

/// The page with its tables as they should be.
fn written(page: &str) -> String {
    let (before, rest) = page.split_once(BEGIN).expect("the page has a place for the tables");
    let (_, after) = rest.split_once(END).expect("the tables have an end");
    format!("{before}{BEGIN}{}{END}{after}", tables())
}

#[test]
fn the_page_has_every_key_as_it_is() {
    let page = std::fs::read_to_string(path()).unwrap();
    let again =
        "write it anew: cargo test -p waltz-server --lib config::document::rewrite -- --ignored";
    assert!(page == written(&page), "docs/configuration.md is not up to date; {again}");
}

#[test]
#[ignore = "writes docs/configuration.md"]
fn rewrite() {
    let page = std::fs::read_to_string(path()).unwrap();
    std::fs::write(path(), written(&page)).unwrap();
}
