//! What a person agrees to lose: a word for each resource, valid for one upload or one request.

use std::collections::HashMap;

use serde_json::{Value, json};
use stackdrop_functions::deployment::consent::{DELETE_DATA, EMPTY_DATABASE};

/// What a person agrees to lose with an upload or a request.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct Agreed {
    /// Agree that the data of this resource is deleted, such as `shop-database`. For several resources, repeat the option.
    #[arg(long, value_name = "NAME")]
    pub(super) delete_data: Vec<String>,
    /// Agree that this database, which is gone, is replaced by an empty one.
    #[arg(long, value_name = "NAME")]
    pub(super) empty_database: Option<String>,
}

impl Agreed {
    /// The metadata of an upload: it belongs to exactly this version of the object.
    pub(super) fn metadata(&self) -> HashMap<String, String> {
        let data = Some(self.delete_data.join(",")).filter(|names| !names.is_empty());
        let data = data.map(|names| (DELETE_DATA.to_owned(), names));
        let database = self.empty_database.clone().map(|name| (EMPTY_DATABASE.to_owned(), name));
        data.into_iter().chain(database).collect()
    }

    /// The request with what the person agrees to.
    pub(super) fn add_to(&self, mut request: Value) -> Value {
        if !self.delete_data.is_empty() {
            request["deleteData"] = json!(self.delete_data);
        }
        if let Some(name) = &self.empty_database {
            request["emptyDatabase"] = json!(name);
        }
        request
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_added_if_nobody_agreed() {
        let agreed = Agreed::default();
        assert!(agreed.metadata().is_empty());
        assert_eq!(agreed.add_to(json!({ "stack": "shop" })), json!({ "stack": "shop" }));
    }

    #[test]
    fn the_words_go_with_the_upload_and_with_the_request() {
        let delete_data = vec!["shop-database".to_owned(), "shop-instance".to_owned()];
        let agreed = Agreed { delete_data, empty_database: Some("shop-database".into()) };
        let metadata = agreed.metadata();
        assert_eq!(metadata[DELETE_DATA], "shop-database,shop-instance");
        assert_eq!(metadata[EMPTY_DATABASE], "shop-database");
        assert_eq!(
            agreed.add_to(json!({})),
            json!({ "deleteData": ["shop-database", "shop-instance"], "emptyDatabase": "shop-database" })
        );
    }
}
