"""What an ablation varies: designs, the section ``ablate``, its stopping and its re-tuning."""
