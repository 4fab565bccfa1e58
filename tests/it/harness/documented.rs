//! Whether an answer is one that the OpenAPI document knows: its status for that route, and the shape of its body.

use std::sync::LazyLock;

use reqwest::Method;
use serde_json::Value;

use super::service::Answer;

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| serde_json::to_value(confirmd::intake::openapi()).unwrap());

/// Every documented route: its method, its template, and the scope that it needs, if any.
pub(crate) fn routes() -> Vec<(Method, String, Option<String>)> {
    let mut routes = Vec::new();
    for (template, item) in DOCUMENT["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let scope = operation["security"][0]["bearer"][0].as_str().map(str::to_owned);
            routes.push((method.to_uppercase().parse().unwrap(), template.clone(), scope));
        }
    }
    routes
}

/// Fails the story if the document does not know this answer. What has no route has no answer to know.
pub(crate) fn documented(method: &Method, path: &str, answer: &Answer) {
    let Some(operation) = operation(method, path) else { return };
    let responses = &operation["responses"];
    let status = answer.status.to_string();
    let response = responses.get(&status).unwrap_or_else(|| panic!("{status} is not documented for {method} {path}"));
    let content_type = answer.header("content-type").split(';').next().unwrap_or_default();
    let schema = response["content"].get(content_type).map(|content| &content["schema"]);
    let schema = schema
        .unwrap_or_else(|| panic!("{content_type} is not documented for {status} of {method} {path}: {response}"));
    if content_type.ends_with("json") {
        let fits = fits(schema, &answer.json(), "");
        fits.unwrap_or_else(|error| panic!("{status} of {method} {path} is not as documented: {error}"));
    }
}

fn operation(method: &Method, path: &str) -> Option<&'static Value> {
    let path = path.split('?').next().unwrap_or_default();
    let fits = |template: &str| {
        let (template, path) = (template.split('/'), path.split('/'));
        template.clone().count() == path.clone().count()
            && template.zip(path).all(|(named, given)| named == given || named.starts_with('{'))
    };
    let paths = DOCUMENT["paths"].as_object().unwrap();
    // A template without a name in it is meant before one with.
    let item = paths.get(path).or_else(|| paths.iter().find(|(template, _)| fits(template)).map(|(_, item)| item))?;
    item.get(method.as_str().to_lowercase())
}

/// As much of JSON Schema as the document uses, and stricter: a member that is not documented does not fit.
fn fits(schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let pointer = reference.strip_prefix('#').unwrap();
        return fits(DOCUMENT.pointer(pointer).unwrap(), value, at);
    }
    if let Some(choices) = schema["oneOf"].as_array().or_else(|| schema["anyOf"].as_array()) {
        let tried: Vec<_> = choices.iter().map(|choice| fits(choice, value, at)).collect();
        let wrong = || format!("{at} is none of its kinds: {tried:?}");
        return if tried.iter().any(Result::is_ok) { Ok(()) } else { Err(wrong()) };
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        return Err(format!("{at} is {value}, and not one of {words:?}"));
    }
    let types = match &schema["type"] {
        Value::Array(types) => types.clone(),
        Value::Null => Vec::new(),
        one => vec![one.clone()],
    };
    if !types.is_empty() && !types.iter().any(|kind| is_a(value, kind.as_str().unwrap())) {
        return Err(format!("{at} is {value}, and not a {types:?}"));
    }
    for item in value.as_array().into_iter().flatten() {
        fits(&schema["items"], item, &format!("{at}/*"))?;
    }
    if let (Some(members), Some(known)) = (value.as_object(), schema["properties"].as_object()) {
        let missing = schema["required"].as_array().into_iter().flatten().find(|name| {
            let name = name.as_str().unwrap();
            !members.contains_key(name)
        });
        if let Some(missing) = missing {
            return Err(format!("{at} lacks {missing}"));
        }
        for (name, member) in members {
            let schema = known.get(name).ok_or_else(|| format!("{at}/{name} is not documented"))?;
            fits(schema, member, &format!("{at}/{name}"))?;
        }
    }
    Ok(())
}

fn is_a(value: &Value, kind: &str) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        unknown => panic!("the document has a kind of its own: {unknown}"),
    }
}
