"""The header providers that ``mlflow.yml`` names. They are yours: change them, and add your own."""
