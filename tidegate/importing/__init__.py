"""Other gateways' configuration, made into Backends, Policies and Secrets. Pure: text in, objects and findings out.

fields          a mapping of the input, read so that what nobody takes is reported
report          the findings: file, line, path, and what to do instead
litellm         `config.yaml` of LiteLLM
writing         objects as YAML

`commands/importing` reads the files, has the result checked by the compiler, and writes it.
"""
