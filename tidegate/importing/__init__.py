"""Other gateways' configuration, made into Backends, Policies and Secrets. Pure: text in, objects and findings out.

reading         whose configuration it is, and its import
litellm/        `config.yaml` of LiteLLM
agentgateway/   Kubernetes resources of agentgateway
fields          a mapping of the input, read so that what nobody takes is reported
report          the findings: file, line, path, and what to do instead; never a value
keys            credentials on their way into a Secret
patterns        whether text is what a field of the API takes
writing         objects as YAML

`commands/importing` reads the files, has the result checked by the compiler, and writes it.
"""
