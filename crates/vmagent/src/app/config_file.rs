//! Reading one file or URL that belongs to the config. Blocking: call it on a thread that may block.

use tokio::runtime::Handle;
use vmkit::config_source::is_url;
use vmkit::http_client::Client;

/// Reads a file or URL on a thread that may block.
pub(super) fn read_file(name: &str, client: &Client, runtime: &Handle) -> Result<Vec<u8>, String> {
    if is_url(name) {
        return runtime.block_on(client.fetch_file(name.to_owned()));
    }
    std::fs::read(name).map_err(|error| vmkit::go_text::os_error(&error))
}
