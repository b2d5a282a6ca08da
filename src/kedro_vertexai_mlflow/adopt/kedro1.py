"""What Kedro 1 no longer has, as tables: the old name, and what to write instead.

Sources: Kedro's migration guide (https://docs.kedro.org/en/stable/about/migration/) and the release notes of Kedro,
kedro-datasets and kedro-mlflow. A test compares the new names with the installed packages.
"""

# Names that modules import. A name ends in `.*` if everything in the module is gone.
IMPORTS = {
    "kedro.extras.datasets.*": "kedro_datasets",
    "kedro.extras.extensions.*": "%load_ext kedro.ipython",
    "kedro.extras.*": "nothing; Kedro's extras are gone",
    "kedro.config.ConfigLoader": "kedro.config.OmegaConfigLoader",
    "kedro.config.TemplatedConfigLoader": "kedro.config.OmegaConfigLoader, which reads ${globals:name}",
    "kedro.context.*": "kedro.framework.context",
    "kedro.framework.context.load_context": "kedro.framework.session.KedroSession.create().load_context()",
    "kedro.framework.session.get_current_session": "the context that the hook after_context_created gets",
    "kedro.framework.startup._is_project": "kedro.utils.is_kedro_project",
    "kedro.io.AbstractDataSet": "kedro.io.AbstractDataset",
    "kedro.io.AbstractVersionedDataSet": "kedro.io.AbstractVersionedDataset",
    "kedro.io.CachedDataSet": "kedro.io.CachedDataset",
    "kedro.io.DataSetAlreadyExistsError": "kedro.io.DatasetAlreadyExistsError",
    "kedro.io.DataSetError": "kedro.io.DatasetError",
    "kedro.io.DataSetNotFoundError": "kedro.io.DatasetNotFoundError",
    "kedro.io.IncrementalDataSet": "kedro_datasets.partitions.IncrementalDataset",
    "kedro.io.IncrementalDataset": "kedro_datasets.partitions.IncrementalDataset",
    "kedro.io.KedroDataCatalog": "kedro.io.DataCatalog",
    "kedro.io.LambdaDataSet": "a dataset class of your own",
    "kedro.io.LambdaDataset": "a dataset class of your own",
    "kedro.io.MemoryDataSet": "kedro.io.MemoryDataset",
    "kedro.io.PartitionedDataSet": "kedro_datasets.partitions.PartitionedDataset",
    "kedro.io.PartitionedDataset": "kedro_datasets.partitions.PartitionedDataset",
    "kedro.io.core.AbstractDataSet": "kedro.io.core.AbstractDataset",
    "kedro.io.core.AbstractVersionedDataSet": "kedro.io.core.AbstractVersionedDataset",
    "kedro.io.core.DataSetError": "kedro.io.core.DatasetError",
    "kedro.pipeline.modular_pipeline.*": "kedro.pipeline",
    "kedro.pipeline.modular_pipeline.ModularPipelineError": "kedro.pipeline.pipeline.PipelineError",
    "kedro_viz.integrations.kedro.sqlite_store.*": "nothing; Kedro-Viz has no experiment tracking any more, MLflow has",
    "kedro.versioning.*": "nothing; the journal is gone",
}

# Methods of the catalog, which code usually calls `catalog`.
CATALOG_METHODS = {
    "_get_dataset": "catalog.get(name)",
    "add_all": "catalog[name] = dataset for each of them",
    "add_feed_dict": "catalog[name] = value for each of them",
    "add": "catalog[name] = dataset",
    "list": "catalog.filter(name_regex)",
    "shallow_copy": "nothing; the catalog does not have to be copied",
}

# Hooks, and arguments of hooks and functions.
HOOKS = {
    "register_catalog": "DATA_CATALOG_CLASS in settings.py",
    "register_config_loader": "CONFIG_LOADER_CLASS and CONFIG_LOADER_ARGS in settings.py",
    "register_pipelines": "register_pipelines() in pipeline_registry.py",
}
HOOK_ARGUMENTS = {"session_id": "run_id", "feed_dict": "parameters"}
ARGUMENTS = {
    ("KedroSession.create", "extra_params"): "runtime_params",
    ("KedroSession.create", "package_name"): "nothing; call kedro.framework.startup.bootstrap_project(path) first",
    ("pipeline", "pipe"): "nodes",
}

# Types in a catalog that have another name now. In all others, the ending `DataSet` becomes `Dataset`.
RENAMED_TYPES = {
    "IncrementalDataSet": "partitions.IncrementalDataset",
    "IncrementalDataset": "partitions.IncrementalDataset",
    "PartitionedDataSet": "partitions.PartitionedDataset",
    "PartitionedDataset": "partitions.PartitionedDataset",
    "matplotlib.MatplotlibWriter": "matplotlib.MatplotlibDataset",
    "kedro_mlflow.io.artifacts.MlflowArtifactDataSet": "kedro_mlflow.io.artifacts.MlflowArtifactDataset",
    "kedro_mlflow.io.metrics.MlflowMetricDataSet": "kedro_mlflow.io.metrics.MlflowMetricDataset",
    "kedro_mlflow.io.metrics.MlflowMetricHistoryDataSet": "kedro_mlflow.io.metrics.MlflowMetricHistoryDataset",
    "kedro_mlflow.io.metrics.MlflowMetricsDataSet": "kedro_mlflow.io.metrics.MlflowMetricsHistoryDataset",
    "kedro_mlflow.io.models.MlflowModelLoggerDataSet": "kedro_mlflow.io.models.MlflowModelTrackingDataset",
    "kedro_mlflow.io.models.MlflowModelSaverDataSet": "kedro_mlflow.io.models.MlflowModelLocalFileSystemDataset",
    "networkx.NetworkXDataSet": "networkx.JSONDataset",
    "networkx.NetworkXDataset": "networkx.JSONDataset",
    "polars.GenericDataSet": "polars.EagerPolarsDataset",
    "polars.GenericDataset": "polars.EagerPolarsDataset",
}
# Types that have no successor with the same arguments.
REMOVED_TYPES = {
    "geopandas.GeoJSONDataSet": "geopandas.GenericDataset, with file_format: geojson",
    "geopandas.GeoJSONDataset": "geopandas.GenericDataset, with file_format: geojson",
    "pandas.AppendableExcelDataSet": "pandas.ExcelDataset",
    "tracking.JSONDataSet": "json.JSONDataset, or kedro_mlflow.io.artifacts.MlflowArtifactDataset around it",
    "tracking.JSONDataset": "json.JSONDataset, or kedro_mlflow.io.artifacts.MlflowArtifactDataset around it",
    "tracking.MetricsDataSet": "json.JSONDataset, or for metrics of MLflow one MlflowMetricDataset for each number",
    "tracking.MetricsDataset": "json.JSONDataset, or for metrics of MLflow one MlflowMetricDataset for each number",
    "video.VideoDataSet": "kedro_datasets_experimental.video.VideoDataset",
    "video.VideoDataset": "kedro_datasets_experimental.video.VideoDataset",
}
# Extras of kedro-datasets are named after types, and are renamed with them. These have another successor, or none.
RENAMED_EXTRAS = {
    **{
        old.lower().replace(".", "-"): new.lower().replace(".", "-")
        for old, new in RENAMED_TYPES.items()
        if "." in old and not old.startswith("kedro") and old.lower() != new.lower()
    },
    "geopandas-geojsondataset": "geopandas-genericdataset",
    "tracking": "",
    "tracking-jsondataset": "",
    "tracking-metricsdataset": "",
}
# Kedro 0 looked for types in this package, so a catalog could leave it out.
OLD_PACKAGE = "kedro.extras.datasets."

# What Kedro 1 accepts as the name or tag of a node.
NODE_NAME = r"[\w\.-]+"
