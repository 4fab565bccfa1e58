//! Faults of our own making, which the rows of `tests/chaos` have to find: each still fits the sources of today.

use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn each_fault_of_our_own_making_can_still_be_made() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = root.join("tests/chaos/bugs");
    let played = fs::read_to_string(root.join("tests/chaos/bugs.rs")).unwrap();
    let mut patches: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    patches.sort();
    assert_eq!(patches.len(), 10);
    for patch in patches {
        let name = patch.file_stem().unwrap().to_str().unwrap();
        assert!(played.contains(&format!("{name:?}")), "no row is named for {name}");
        let tried = Command::new("git").args(["apply", "--check"]).arg(&patch).current_dir(root).output().unwrap();
        assert!(tried.status.success(), "{name}: {}", String::from_utf8_lossy(&tried.stderr));
    }
}

#[test]
fn each_story_that_the_record_of_the_rows_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("tests/chaos/elsewhere.rs")).unwrap();
    let is_story = |word: &&str| word.contains("::") && word.chars().all(|c| c.is_alphanumeric() || "_:".contains(c));
    // Beside the backticks of Markdown there are none in that file.
    let named: Vec<&str> = text.split('`').filter(is_story).filter(|name| !name.starts_with("chapter")).collect();
    assert!(25 < named.len(), "{named:?}");
    for name in named {
        let parts: Vec<&str> = name.split("::").collect();
        let (story, chapters) = parts.split_last().unwrap();
        let chapter = root.join("tests/it").join(format!("{}.rs", chapters.join("/")));
        let chapter = fs::read_to_string(&chapter).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(chapter.contains(&format!("fn {story}(")), "{name}");
    }
}
