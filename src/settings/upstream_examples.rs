//! Examples of upstreams, for the example settings file.

/// The last one sets every default explicitly.
pub(super) const EXAMPLES: &str = "
# OpenAI.
[[upstreams]]
name = \"openai\"
base_url = \"https://api.openai.com/v1\"
api_key_env = \"OPENAI_API_KEY\"
models = [\"gpt-*\", \"o*\"]
headers = { OpenAI-Project = \"proj_example\" }

# Anthropic.
[[upstreams]]
name = \"anthropic\"
dialect = \"anthropic\"
base_url = \"https://api.anthropic.com\"
api_key_env = \"ANTHROPIC_API_KEY\"
anthropic_version = \"2023-06-01\"
models = [\"claude-*\"]

# Azure OpenAI.
[[upstreams]]
name = \"azure\"
base_url = \"https://example.openai.azure.com/openai/v1\"
api_key_env = \"AZURE_OPENAI_API_KEY\"
auth_header = \"api-key\"
models = [\"azure-*\"]

# Ollama, on this machine. The first token may wait until the model is loaded.
[[upstreams]]
name = \"ollama\"
base_url = \"http://127.0.0.1:11434/v1\"
models = [\"llama*\", \"qwen*\"]
first_token_timeout = \"5m\"

# vLLM, on this machine, with every setting at its default.
[[upstreams]]
name = \"vllm\"
dialect = \"openai\"
base_url = \"http://127.0.0.1:8000/v1\"
models = [\"*\"]
weight = 1.0
connect_timeout = \"5s\"
keepalive = \"4s\"
head_timeout = \"2m\"
first_token_timeout = \"2m\"
idle_timeout = \"1m\"
max_retries = 2
retry_budget = { ratio = 0.2, min_per_second = 1 }
breaker = { failures = 5, open = \"15s\" }
cancel_bills = \"partial\"
errors = \"pass\"
always_stream = false
max_event = \"4MiB\"
";
