//! What the README shows is what is compiled.

#[test]
fn the_readme_shows_the_example_word_for_word() {
    let readme = include_str!("../../README.md");
    let example = include_str!("../examples/deposit.rs");
    let (_, program) = example.split_once("\n\n").expect("the program follows its header");
    assert!(readme.contains(program), "copy client/examples/deposit.rs into README.md");
}
