//! The imports among the files of each room of `src`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::architecture::{files, production_code};

/// A module's path without `crate`, such as `["api", "wire", "native"]`.
type ModulePath = Vec<String>;

#[test]
fn files_of_a_room_import_one_another_without_cycles() {
    let code: BTreeMap<ModulePath, String> =
        files().into_iter().map(|(path, text)| (module(&path), production_code(&text))).collect();
    let modules: BTreeSet<_> = code.keys().cloned().collect();
    let imports: BTreeMap<_, _> =
        code.iter().map(|(module, code)| (module.clone(), imports(module, code, &modules))).collect();
    let cycles: Vec<_> = modules.iter().filter_map(|module| cycle(module, &imports)).collect();
    assert!(cycles.is_empty(), "{}", cycles.join("\n"));
}

/// The shortest cycle from a module back to itself within its room. A room's own `mod.rs` is its table of contents: it
/// re-exports files that name it.
fn cycle(module: &ModulePath, imports: &BTreeMap<ModulePath, BTreeSet<ModulePath>>) -> Option<String> {
    if module.len() == 1 {
        return None;
    }
    let (mut reached, mut paths) = (BTreeSet::new(), vec![vec![module]]);
    while !paths.is_empty() {
        let mut longer = Vec::new();
        for path in paths {
            for next in &imports[path[path.len() - 1]] {
                if next == module {
                    let names: Vec<_> = path.iter().chain([&module]).map(|module| module.join("::")).collect();
                    return Some(names.join(" -> "));
                }
                if next.len() > 1 && next[0] == module[0] && reached.insert(next) {
                    longer.push([&path[..], &[next]].concat());
                }
            }
        }
        paths = longer;
    }
    None
}

fn module(path: &Path) -> ModulePath {
    let mut names: ModulePath = path.iter().skip(1).map(|name| name.to_string_lossy().into_owned()).collect();
    let file = names.pop().expect("a file");
    if file != "mod.rs" {
        names.push(file.trim_end_matches(".rs").to_owned());
    }
    names
}

/// The modules that the code of a module names in `use` statements and in paths.
fn imports(module: &ModulePath, code: &str, modules: &BTreeSet<ModulePath>) -> BTreeSet<ModulePath> {
    let statements = code.split("use ").skip(1).filter_map(|rest| rest.split_once(';')).map(|(statement, _)| statement);
    let used = statements.flat_map(|statement| expand("", statement));
    let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let paths = code.split(|c| !is_path(c)).filter(|path| !path.ends_with("::"));
    let inline = paths.filter(|path| path.starts_with("super::") || path.starts_with("crate::"));
    let named = used.chain(inline.map(str::to_owned)).filter_map(|path| resolve(module, &path, modules));
    named.filter(|other| other != module).collect()
}

/// `a::{b, c::{d, e}}` as `a::b`, `a::c::d` and `a::c::e`.
fn expand(prefix: &str, tree: &str) -> Vec<String> {
    let Some((path, rest)) = tree.split_once('{') else {
        let name = tree.split(" as ").next().unwrap_or_default().trim();
        return vec![format!("{prefix}{name}")];
    };
    let (prefix, mut depth) = (format!("{prefix}{}", path.trim()), 0_usize);
    let inner = rest.rsplit_once('}').map_or(rest, |(inner, _)| inner);
    let parts = inner.split(|c| {
        depth = match c {
            '{' => depth + 1,
            '}' => depth.saturating_sub(1),
            _ => depth,
        };
        c == ',' && depth == 0
    });
    parts.filter(|part| !part.trim().is_empty()).flat_map(|part| expand(&prefix, part)).collect()
}

/// The module that holds what a path names: the longest beginning of the path that is a module.
fn resolve(module: &ModulePath, path: &str, modules: &BTreeSet<ModulePath>) -> Option<ModulePath> {
    let mut names: Vec<&str> = path.split("::").collect();
    let mut full = module.clone();
    match names[0] {
        "crate" => {
            full.clear();
            names.remove(0);
        }
        "super" | "self" => {
            while let Some("super" | "self") = names.first().copied() {
                if names.remove(0) == "super" {
                    full.pop();
                }
            }
        }
        // A child of the module, or a crate.
        child => {
            let child: ModulePath = full.iter().map(String::as_str).chain([child]).map(str::to_owned).collect();
            modules.contains(&child).then_some(())?;
        }
    }
    full.extend(names.into_iter().map(str::to_owned));
    (1..=full.len()).rev().map(|length| full[..length].to_vec()).find(|module| modules.contains(module))
}

#[test]
fn nested_use_statements_are_resolved() {
    let path = |path: &str| -> ModulePath { path.split("::").map(str::to_owned).collect() };
    let modules: BTreeSet<_> = ["a", "a::b", "a::b::c", "a::d", "e"].map(path).into();
    let code = "use super::{d::X, b::{self, c::{Y, Z}}};\nuse crate::e;\nfn f() -> super::d::W { std::io::sink() }";
    assert_eq!(imports(&path("a::d"), code, &modules), ["a::b", "a::b::c", "e"].map(path).into());
    assert_eq!(imports(&path("a::b"), "mod c;\npub use c::Y;\nuse tokio::x;", &modules), [path("a::b::c")].into());
}
