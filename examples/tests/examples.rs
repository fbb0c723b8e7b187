//! Runs each example to its end, beside a real node and real databases.

#[path = "../../sql/tests/databases/node.rs"]
mod node;

use std::path::Path;
use std::process::{Command, Stdio};

use node::TestNode;
use tempfile::TempDir;
use waltz_databases::{Kind, Server};

const BANK: &str = env!("CARGO_BIN_EXE_bank");
const ORDERS: &str = env!("CARGO_BIN_EXE_orders");
const READ_MODEL: &str = env!("CARGO_BIN_EXE_read_model");
const REBUILD: &str = env!("CARGO_BIN_EXE_rebuild");

/// What a program that succeeds writes to its standard output.
fn run(program: &str, node: &TestNode, directory: &Path, arguments: &[&str]) -> String {
    let address = &node.config().bootstrap[0].0;
    let output = Command::new(program)
        .args(["--node", address])
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    let text = String::from_utf8(output.stdout).expect("it writes text");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} failed: {error}\n{text}");
    text
}

#[track_caller]
fn assert_says(text: &str, expected: &[&str]) {
    for line in expected {
        assert!(text.lines().any(|found| found == *line), "{line:?} is missing in\n{text}");
    }
}

#[test]
fn the_bank_conserves_money_and_both_services_agree() {
    let node = TestNode::start(4);
    let server = Server::start(Kind::Postgres).expect("a PostgreSQL server");
    let accounts = server.create_database("accounts").expect("a database");
    let statements = server.create_database("statements").expect("a database");
    let directory = TempDir::new().expect("a directory");
    let arguments = ["--accounts", &accounts, "--statements", &statements, "--transfers", "300"];
    let checks = [
        "ok    money is conserved",
        "ok    no account is overdrawn",
        "ok    statements and accounts agree",
        "     3        10      100000",
    ];
    let instance = || run(BANK, &node, directory.path(), &arguments);
    // The first instances on these databases start at the same time: both want to make the tables.
    std::thread::scope(|scope| {
        for text in [scope.spawn(instance), scope.spawn(instance)].map(|run| run.join()) {
            assert_says(&text.expect("it succeeded"), &checks);
        }
    });
    assert_says(&instance(), &checks);
}

#[test]
fn the_inventory_settles_every_order() {
    let node = TestNode::start(4);
    let directory = TempDir::new().expect("a directory");
    let checks = ["ok    every order is shipped or rejected", "ok    orders and inventory agree"];
    let text = run(ORDERS, &node, directory.path(), &[]);
    assert_says(&text, &checks);
    assert_says(&text, &["orders placed           100", "placed before             0"]);
    assert!(text.contains("rejected"), "there is less in stock than wanted:\n{text}");
    let again = run(ORDERS, &node, directory.path(), &[]);
    assert_says(&again, &checks);
    assert_says(&again, &["orders placed             0", "placed before           100"]);
}

#[test]
fn a_lost_database_comes_back() {
    let node = TestNode::start(4);
    let directory = TempDir::new().expect("a directory");
    let text = run(REBUILD, &node, directory.path(), &[]);
    assert_says(
        &text,
        &["the database is the one that was deleted", "    7       125            1131"],
    );
}

#[test]
fn a_search_index_goes_on_from_its_snapshot() {
    let node = TestNode::start(4);
    let directory = TempDir::new().expect("a directory");
    let text = run(READ_MODEL, &node, directory.path(), &[]);
    let same = "the index is the same as one built from the beginning of the log";
    assert_says(&text, &["   100 articles in the snapshot", same]);
    assert_says(&text, &["   200 articles after it was begun again"]);
    let again = run(READ_MODEL, &node, directory.path(), &["--articles", "10"]);
    assert_says(&again, &["   205 articles in the snapshot", same]);
}
