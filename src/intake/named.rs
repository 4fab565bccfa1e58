//! What a path names. A name that cannot exist and one that does not are answered alike.

use axum::{
    extract::{FromRequestParts, Path},
    http::request::Parts,
};

use super::problem::Problem;

/// The one name in a path.
pub(super) struct Named<T>(pub(super) T);

impl<S: Send + Sync, T: TryFrom<String>> FromRequestParts<S> for Named<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(text) = Path::<String>::from_request_parts(parts, state).await.map_err(|_| Problem::NotFound)?;
        T::try_from(text).map(Self).map_err(|_| Problem::NotFound)
    }
}
