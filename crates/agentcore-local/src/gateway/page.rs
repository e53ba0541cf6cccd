//! The files of a web page, read when they are asked for, so that an edit shows on reload.

use std::path::Path;

/// Media type and content of the file that a decoded URL path names; nothing outside the folder.
pub(super) fn read(folder: &Path, path: &str) -> Option<(&'static str, Vec<u8>)> {
    let path = path.strip_prefix('/')?;
    let path = if path.is_empty() { "index.html" } else { path };
    let mut file = folder.to_owned();
    for segment in path.split('/') {
        // Neither `..` nor hidden files, nor what another system reads as a path of its own.
        if segment.is_empty() || segment.starts_with('.') || segment.contains(['\\', ':', '\0']) {
            return None;
        }
        file.push(segment);
    }
    let kind = match file.extension()?.to_str()? {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "txt" => "text/plain; charset=utf-8",
        _ => return None,
    };
    Some((kind, std::fs::read(file).ok()?))
}

#[cfg(test)]
mod tests {
    use super::read;
    use std::path::Path;

    #[test]
    fn nothing_outside_the_folder() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        for path in ["/../README.txt", "/..", "//etc/hosts.txt", "/.hidden.txt", "/a\\b.txt", ""] {
            assert!(read(&folder, path).is_none(), "{path}");
        }
        // The right folder, but no kind of file that a page has.
        assert!(read(&folder, "/lib.rs").is_none());
    }
}
