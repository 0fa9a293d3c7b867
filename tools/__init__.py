"""The toolchain that makes and measures the models `yolort` runs: needs torch, ultralytics (extra `tools`).

Nothing is imported here, so that `import yolort.tools` costs nothing: import the tool itself,
`from yolort.tools.export import export`.
"""
