//! Promise: the folders of `src/` are layers. A higher one may import a lower one, never the other way. Folders side by
//! side do not import each other, and no files import each other in a circle. The table is the picture in `src/lib.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The layers, the highest first. `*` stands for the files of `src/` that are in no folder.
const LAYERS: [&[&str]; 8] = [
    &["main", "check"],
    &["serve"],
    &["api"],
    &["hook", "hosts", "page"],
    &["http"],
    &["net", "keep"],
    &["room"],
    &["*"],
];

/// Below all of them.
const LOWEST: &str = "os";

/// Files that may import everything: the map has the links of all, and the lesson shows them.
const MAPS: [&str; 2] = ["lib", "lesson"];

/// Each module of `src/`, and the modules that it imports.
type Imports = BTreeMap<String, BTreeSet<String>>;

fn layer(module: &str) -> usize {
    let folder = module.split("::").next().unwrap();
    let place = |name: &str| LAYERS.iter().position(|folders| folders.contains(&name));
    match place(folder) {
        _ if folder == LOWEST => LAYERS.len(),
        Some(layer) => layer,
        None => place("*").unwrap(),
    }
}

/// The modules and their sources, without comments and tests.
fn sources(folder: &Path, found: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix("src").unwrap().with_extension("");
            let name = name.to_str().unwrap().replace('/', "::");
            let source = std::fs::read_to_string(&path).unwrap();
            let code: Vec<_> = source
                .lines()
                .take_while(|line| !line.starts_with("#[cfg(test)]") && !line.starts_with("#[cfg(all(test"))
                .filter(|line| !line.trim_start().starts_with("//"))
                .collect();
            found.insert(name.trim_end_matches("::mod").to_owned(), code.join("\n"));
        }
    }
}

/// The paths that follow `crate::`, one for each name in braces.
fn paths(code: &str) -> Vec<String> {
    let is_path = |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | ':');
    code.split("crate::")
        .skip(1)
        .flat_map(|rest| {
            let end = rest.find(|char| !is_path(char)).unwrap_or(rest.len());
            let (path, rest) = rest.split_at(end);
            match rest.strip_prefix('{').and_then(|names| names.split_once('}')) {
                Some((names, _)) => names.split(',').map(|name| format!("{path}{}", name.trim())).collect(),
                None => vec![path.to_owned()],
            }
        })
        .collect()
}

fn imports(sources: &BTreeMap<String, String>) -> Imports {
    let module = |path: &str| {
        let mut path = path;
        while !sources.contains_key(path) {
            path = path.rsplit_once("::")?.0;
        }
        Some(path.to_owned())
    };
    let of = |(name, code): (&String, &String)| {
        let imported = paths(code).iter().filter_map(|path| module(path)).filter(|imported| imported != name).collect();
        (name.clone(), imported)
    };
    sources.iter().filter(|(name, _)| !MAPS.contains(&name.as_str())).map(of).collect()
}

/// Imports that go up, or to a folder beside.
fn faults(imports: &Imports) -> Vec<String> {
    let folder = |module: &str| module.split("::").next().unwrap().to_owned();
    let may = |from: &str, to: &str| match layer(from).cmp(&layer(to)) {
        std::cmp::Ordering::Less => true,
        std::cmp::Ordering::Equal => folder(from) == folder(to) || LAYERS.get(layer(from)) == Some(&["*"].as_slice()),
        std::cmp::Ordering::Greater => false,
    };
    let all = imports.iter().flat_map(|(from, all)| all.iter().map(move |to| (from, to)));
    all.filter(|(from, to)| !may(from, to)).map(|(from, to)| format!("{from} imports {to}")).collect()
}

/// The modules that import each other in circles: those that are left when, again and again, all were taken away that
/// import none of the others.
fn circle(mut imports: Imports) -> Vec<String> {
    loop {
        let left: BTreeSet<String> = imports.keys().cloned().collect();
        imports.retain(|_, imported| imported.iter().any(|module| left.contains(module)));
        if imports.len() == left.len() {
            return left.into_iter().collect();
        }
    }
}

#[test]
fn folders_import_only_what_stands_below_and_nothing_in_a_circle() {
    let mut found = BTreeMap::new();
    sources(Path::new("src"), &mut found);
    assert!(found.len() > 50 && found.contains_key("room::hub"), "the sources are found: {:?}", found.keys());
    let imports = imports(&found);
    assert!(imports["room::hub"].contains("room::letterbox"), "imports are found");
    assert_eq!(faults(&imports), Vec::<String>::new());
    assert_eq!(circle(imports), Vec::<String>::new());
}

#[test]
fn an_import_the_wrong_way_round_is_found() {
    let sources = |lines: &[(&str, &str)]| {
        let all = lines.iter().map(|(name, code)| ((*name).to_owned(), (*code).to_owned()));
        imports(&all.collect())
    };
    let up = sources(&[("room::hub", "use crate::http::{gate, head::X};"), ("http::gate", ""), ("http::head", "")]);
    assert_eq!(faults(&up), ["room::hub imports http::gate", "room::hub imports http::head"]);
    let beside = sources(&[
        ("net::socket", "crate::keep::store::Store"),
        ("keep::store", "use crate::os::raw;"),
        ("os::raw", ""),
    ]);
    assert_eq!(faults(&beside), ["net::socket imports keep::store"]);
    let round =
        sources(&[("room::a", "crate::room::b"), ("room::b", "crate::room::c::X"), ("room::c", "crate::room::a")]);
    assert_eq!(
        (faults(&round).len(), circle(round)),
        (0, ["room::a", "room::b", "room::c"].map(str::to_owned).to_vec())
    );
}
